package build

import (
	"fmt"
	"path/filepath"
	"sort"
	"strings"
)

// KubernetesVersion is what `kubernetes/go.mod` requires.
const KubernetesVersion = "v1.34.4"

// recipe tells how a program comes about.
type recipe struct {
	// sources is a folder next to the driver's; none for a published module.
	sources string
	// command is run in that folder and writes the program `out`.
	command func(out string) []string
	// note is what whoever waits may want to know.
	note string
}

// recipes are all programs that can be had, by their names.
var recipes = map[string]recipe{
	"kubernetes": {
		sources: "kubernetes",
		command: func(out string) []string { return goBuild(out, ".", versionFlags()) },
		note:    "some 6 minutes the first time on two cores",
	},
	"netpol":     agent("./netpol"),
	"netpol-cni": agent("./netpol/cni"),
	"volumes":    agent("./volumes"),
	"decoder": {
		sources: "decoder",
		command: func(out string) []string { return goBuild(out, ".", "") },
	},
	"pause": {sources: "pause", command: func(out string) []string {
		return []string{"gcc", "-Os", "-static", "-s", "-o", out, "pause.c"}
	}},
	"coredns": published("github.com/coredns/coredns@v1.14.4"),
	"helm":    published("helm.sh/helm/v3/cmd/helm@v3.19.5"),
	"kwok":    published("sigs.k8s.io/kwok/cmd/kwok@v0.7.0"),
}

// Names are the names of all programs that can be built.
func Names() []string {
	var names []string
	for name := range recipes {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func goBuild(out, target, flags string) []string {
	return []string{"go", "build", "-v", "-trimpath", "-ldflags", strings.TrimSpace("-s -w " + flags), "-o", out, target}
}

// agent is one of the node's own programs.
func agent(target string) recipe {
	return recipe{sources: "agents", command: func(out string) []string { return goBuild(out, target, "") }}
}

// published is a program of a module as its authors released it, with the versions that they chose.
func published(target string) recipe {
	return recipe{note: "some 3 minutes the first time on two cores", command: func(out string) []string {
		install := fmt.Sprintf("GOBIN=%q go install -v -trimpath -ldflags '-s -w' %s", filepath.Dir(out), target)
		name, _, _ := strings.Cut(filepath.Base(target), "@")
		return []string{"sh", "-ec", fmt.Sprintf("%s; mv %q %q", install, filepath.Join(filepath.Dir(out), name), out)}
	}}
}

// versionFlags make the programs tell their version: clients and node checks compare it.
func versionFlags() string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(KubernetesVersion, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	values := []string{
		"gitVersion=" + KubernetesVersion, "gitMajor=" + major, "gitMinor=" + minor,
		"gitTreeState=clean", "buildDate=1970-01-01T00:00:00Z",
	}
	var flags []string
	for _, variables := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, value := range values {
			flags = append(flags, "-X "+variables+"."+value)
		}
	}
	return strings.Join(flags, " ")
}
