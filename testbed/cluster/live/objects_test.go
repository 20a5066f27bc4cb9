package live

import (
	"strings"
	"testing"
)

// refused applies what has to be refused, for this reason.
func refused(t *testing.T, reason, object string, words ...string) {
	t.Helper()
	_, err := tryKubectl(object, append([]string{"apply", "-f", "-"}, words...)...)
	if err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("expected %q, got %v", reason, err)
	}
}

func TestAdmission(t *testing.T) {
	const space = "admission"
	namespace(t, space, "pod-security.kubernetes.io/enforce: baseline")
	privileged := strings.Replace(pod(space, "root", idles), "  - name: main", "  - securityContext: {privileged: true}\n    name: main", 1)
	refused(t, "violates PodSecurity", privileged)
	apply(t, "{apiVersion: v1, kind: LimitRange, metadata: {namespace: admission, name: all}, spec: {limits: [{type: Container, "+
		"default: {memory: 32Mi}, max: {memory: 64Mi}}]}}")
	apply(t, pod(space, "small", idles))
	limit := kubectl(t, "get", "pod", "-n", space, "small", "-o", "jsonpath={.spec.containers[0].resources.limits.memory}")
	if limit != "32Mi" {
		t.Errorf("the limit is %q", limit)
	}
	apply(t, "{apiVersion: v1, kind: ResourceQuota, metadata: {namespace: admission, name: all}, spec: {hard: {pods: '1'}}}")
	eventually(t, "the quota counts", func() bool {
		return kubectl(t, "get", "resourcequota", "-n", space, "all", "-o", "jsonpath={.status.used.pods}") == "1"
	})
	refused(t, "exceeded quota", pod(space, "more", idles))
}

func TestRights(t *testing.T) {
	for who, may := range map[string]string{
		"system:serviceaccount:default:default": "no",
		"system:kube-scheduler":                 "yes",
	} {
		said, _ := tryKubectl("", "auth", "can-i", "create", "bindings", "--subresource=", "-n", "default", "--as="+who)
		if said != may {
			t.Errorf("%s: %s", who, said)
		}
	}
	node := "apocryph-" + name
	kubectl(t, "label", "node", node, "allowed.example/label=yes")
	_, err := tryKubectl("", "label", "node", node, "node-restriction.kubernetes.io/x=y", "--as=system:node:"+node, "--as-group=system:nodes")
	if err == nil || !strings.Contains(err.Error(), "is not allowed to modify labels") {
		t.Errorf("a node labels itself: %v", err)
	}
}

func TestVolumesAreAsLargeAsAskedFor(t *testing.T) {
	const space = "volumes"
	namespace(t, space, "")
	claim := "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {namespace: volumes, name: data}, " +
		"spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}}"
	writer := pod(space, "writer", "dd if=/dev/zero of=/data/most bs=1M count=8 && ! dd if=/dev/zero of=/data/more bs=1M count=16 && "+serves)
	writer = strings.Replace(writer, "spec:", "spec:\n  securityContext: {runAsUser: 1000, fsGroup: 1000}\n"+
		"  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]", 1)
	writer = strings.Replace(writer, "    ports:", "    volumeMounts: [{name: data, mountPath: /data}]\n    ports:", 1)
	apply(t, claim, writer)
	awaitReady(t, space, "writer")
	volume := kubectl(t, "get", "pvc", "-n", space, "data", "-o", "jsonpath={.spec.volumeName}")
	kubectl(t, "delete", "-n", space, "pod/writer", "pvc/data", "--grace-period=0", "--force")
	eventually(t, "the volume goes with its claim", func() bool {
		_, err := tryKubectl("", "get", "pv", volume)
		return err != nil && strings.Contains(err.Error(), "not found")
	})
}

func TestNamesAreResolved(t *testing.T) {
	const space = "names"
	namespace(t, space, "")
	apply(t, pod(space, "web", serves), pod(space, "client", idles),
		"{apiVersion: v1, kind: Service, metadata: {namespace: names, name: site}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}}")
	awaitReady(t, space, "web", "client")
	eventually(t, "a service by its name", func() bool { return fetch(space, "client", "site.names") })
}
