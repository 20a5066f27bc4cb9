//! Containers have no power over the host.

use apocryph_provider::EngineError;

use super::driving::{finish, first_lines, lines_of, scale_to_one};
use super::{PodUnderTest, Subject, attacker, shell};
use crate::layout::Layer;

/// A container has no power over the host.
pub async fn containers_are_confined(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let script = "try() { \"$@\" >/dev/null 2>&1 && echo did $1 || echo refused; }; b=/bin/busybox; \
                  try $b mount -t tmpfs none /tmp; try $b unshare -n true; try $b unshare -U true; \
                  try $b mknod /tmp/sda b 8 0; try $b hostname other; try $b dmesg; \
                  try $b sh -c 'echo 1 >/proc/sys/kernel/panic'; try $b sh -c 'echo b >/proc/sysrq-trigger'; \
                  try $b grep -q . /proc/kcore; try $b chroot /tmp true; try $b ip link set lo down; \
                  $b grep NoNewPrivs /proc/self/status; $b ls /proc/1/root/bin/busybox; sleep 600";
    let lines = first_lines(subject, PodUnderTest::new(1, image).container("main", script), 13).await;
    assert_eq!(lines[..11], ["refused"; 11]);
    assert_eq!(lines[11..], ["NoNewPrivs:\t1", "/proc/1/root/bin/busybox"]);
}

/// The kernel does for a container what programs need, and nothing that reaches beyond it.
pub async fn doors_of_the_kernel_are_shut(subject: &mut dyn Subject) {
    let image = subject.ship(&attacker());
    let pod = PodUnderTest::new(1, image).container("main", "attack calls; sleep 600");
    assert_eq!(first_lines(subject, pod, 1).await, ["0 doors open"]);
}

/// No file steers the kernel or shows what is the host's.
pub async fn nothing_of_the_host_is_written_or_shown(subject: &mut dyn Subject) {
    let image = subject.ship(&attacker());
    let pod = PodUnderTest::new(1, image).container("main", "attack writes; sleep 600");
    assert_eq!(first_lines(subject, pod, 1).await, ["0 files open"]);
}

/// A program of the image that would run as root does not where it is started by another.
pub async fn set_user_id_programs_gain_nothing(subject: &mut dyn Subject) {
    let image = subject.ship(&attacker());
    let pod = PodUnderTest::new(1, image)
        .container("main", "/bin/attack-as-root whoami; sleep 600")
        .with(|container| container.user = Some("guest".into()));
    assert_eq!(first_lines(subject, pod, 1).await, ["1000"]);
}

/// Devices that an image brings along are refused with it, or open nothing.
pub async fn devices_of_an_image_are_of_no_use(subject: &mut dyn Subject) {
    // Disks, memory and the log of the kernel.
    let devices = Layer::new()
        .directory("devices", 0o755)
        // That it could tell if one opened.
        .file("devices/plain", "x", 0o644)
        .block_device("devices/disk", 254, 0)
        .block_device("devices/loop", 7, 0)
        .character_device("devices/memory", 1, 1)
        .character_device("devices/log", 1, 11);
    let image = subject.ship(&attacker().with_layer(devices));
    let pod = PodUnderTest::new(1, image).container("main", "attack devices /devices; sleep 600");
    let pod = pod.build(subject);
    let engine = subject.engine();
    match engine.prepare(&pod).await {
        Err(EngineError::Pod(fault)) => assert_eq!(fault.code, "image-refused", "{fault}"),
        prepared => {
            prepared.unwrap();
            scale_to_one(engine, &pod).await;
            assert_eq!(lines_of(engine, pod.id, 2).await, ["readable /devices/plain", "1 devices open"]);
        }
    }
    finish(engine, pod.id).await;
}

/// Nothing in a container speaks for it to who runs it.
pub async fn no_account_is_given(subject: &mut dyn Subject) {
    let image = subject.ship(&shell());
    let script = "b=/bin/busybox; $b find / -xdev -name token -o -name 'serviceaccount*' -o -name '*.sock' \
                  -o -name kubeconfig 2>/dev/null; $b env | $b grep -i -e token -e secret; ls /run /var/run 2>/dev/null; \
                  $b awk '{ print $2 }' /proc/mounts | $b grep -e ^/run -e ^/var; echo none; sleep 600";
    let lines = first_lines(subject, PodUnderTest::new(1, image).container("main", script), 1).await;
    assert_eq!(lines, ["none"]);
}
