package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// builder has sources and a cache of its own.
func builder(t *testing.T) Builder {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	sources := t.TempDir()
	write(t, filepath.Join(sources, "pause", "pause.c"), "int main(void) { return 0; }\n")
	return Builder{Sources: sources, Say: func(line string) { t.Log(line) }}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWhatChangedIsBuiltAnewAndTheFormerRemoved(t *testing.T) {
	b := builder(t)
	first, err := b.Build("pause")
	if err != nil {
		t.Skip("skipped: no C compiler: ", err)
	}
	before, _ := os.Stat(first)
	if again, err := b.Build("pause"); err != nil || again != first {
		t.Errorf("%s, %v", again, err)
	}
	if after, _ := os.Stat(first); !os.SameFile(before, after) {
		t.Error("it was built twice")
	}
	write(t, filepath.Join(b.Sources, "pause", "pause.c"), "int main(void) { return 1; }\n")
	second, err := b.Build("pause")
	if err != nil || second == first {
		t.Errorf("%s, %v", second, err)
	}
	if isProgram(first) || !isProgram(second) {
		t.Error("the former is there, or the new one is not")
	}
}

func TestWhatFailsTellsWhyAndLeavesNothing(t *testing.T) {
	b := builder(t)
	write(t, filepath.Join(b.Sources, "pause", "pause.c"), "nonsense\n")
	path, err := b.Build("pause")
	if err == nil || path != "" {
		t.Fatalf("%q, %v", path, err)
	}
	if !strings.Contains(err.Error(), "build pause") {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "apocryph", "*", "*pause*"))
	if err != nil || len(left) != 1 || !strings.HasSuffix(left[0], "pause.lock") {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestPackagesAreToldFromOtherLines(t *testing.T) {
	for line, is := range map[string]bool{
		"k8s.io/api/core/v1": true, "fmt": true, "": false, "# k8s.io/api": false,
		"main.go:3:2: undefined: x": false, "go: downloading x v1": false,
	} {
		if isPackage(line) != is {
			t.Errorf("%q", line)
		}
	}
}

func TestAnUnknownProgramIsRefusedWithThoseThereAre(t *testing.T) {
	if _, err := builder(t).Build("nonsense"); err == nil || !strings.Contains(err.Error(), "helm") {
		t.Error(err)
	}
}
