//! Processor time that was used, which tells more of a program than the clock on a machine that is
//! not its own.

use std::io;
use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// By this process, in all its threads.
///
/// # Errors
/// If the system does not tell.
pub fn own() -> io::Result<Duration> {
    Ok(total(&getrusage(UsageWho::RUSAGE_SELF)?))
}

/// By the children of this process that have ended and been waited for.
///
/// # Errors
/// If the system does not tell.
pub fn children() -> io::Result<Duration> {
    Ok(total(&getrusage(UsageWho::RUSAGE_CHILDREN)?))
}

/// By a process that runs, in all its threads, to a hundredth of a second (proc(5): `utime` and
/// `stime`, in the 100 ticks a second that Linux shows to programs).
///
/// # Errors
/// If it has ended.
pub fn of(process: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    ticks(&stat).map(|ticks| Duration::from_millis(10 * ticks)).ok_or(io::ErrorKind::InvalidData.into())
}

/// The second field is the program's name in parentheses, and may hold blanks.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(|field| field.parse::<u64>().ok());
    fields.next()??.checked_add(fields.next()??)
}

fn total(usage: &Usage) -> Duration {
    time(usage.user_time()) + time(usage.system_time())
}

fn time(value: TimeVal) -> Duration {
    let micros = value.tv_sec() * 1_000_000 + value.tv_usec();
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 9 8 7 6 250 13 5 4 20 0 1 0 99";
        assert_eq!(ticks(stat), Some(263));
        assert_eq!(ticks("7 (cat) S 1"), None);
    }

    #[test]
    fn work_takes_time_of_this_process() {
        let before = own().unwrap();
        while own().unwrap() == before {
            std::hint::spin_loop();
        }
        assert!(of(std::process::id()).unwrap() <= own().unwrap() + Duration::from_millis(10));
        assert!(of(u32::MAX).is_err());
    }
}
