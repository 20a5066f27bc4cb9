// Package build makes the programs of a cluster, once, into the user's cache.
package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"apocryph/testbed/cluster/layout"
)

// Builder knows where sources and programs are.
type Builder struct {
	// Sources is the driver's folder in the checkout.
	Sources string
	// Say tells people how far it is.
	Say func(string)
}

// Build makes a program unless it is there, and tells where. Of several at once, one builds and the others wait.
func (b Builder) Build(name string) (string, error) {
	path, err := b.path(name)
	if err != nil {
		return "", err
	}
	if isProgram(path) {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	unlock, err := Lock(filepath.Join(filepath.Dir(path), name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if isProgram(path) {
		return path, nil
	}
	if err := b.run(name, path); err != nil {
		return "", err
	}
	return path, removeOthers(path, name)
}

// Find tells where a program is that has been built.
func (b Builder) Find(name string) (string, error) {
	path, err := b.path(name)
	if err == nil && !isProgram(path) {
		err = fmt.Errorf("%s is not built: testbed/cluster/cluster build %s", name, name)
	}
	return path, err
}

// run builds into a folder of its own, so that nobody ever meets half a program.
func (b Builder) run(name, path string) error {
	scratch, err := os.MkdirTemp(filepath.Dir(path), "."+name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	out := filepath.Join(scratch, "program")
	recipe := recipes[name]
	folder := scratch
	if recipe.sources != "" {
		folder = filepath.Join(b.Sources, recipe.sources)
	}
	if err := b.compile(name, folder, recipe, out); err != nil {
		return err
	}
	return os.Rename(out, path)
}

// path names a program by everything that it is made of.
func (b Builder) path(name string) (string, error) {
	recipe, known := recipes[name]
	if !known {
		return "", fmt.Errorf("no program %q: there are %s", name, strings.Join(Names(), ", "))
	}
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.GOARCH, recipe.command("program"))
	if recipe.sources != "" {
		if err := digest(hash, filepath.Join(b.Sources, recipe.sources)); err != nil {
			return "", err
		}
	}
	cache, err := layout.Cache()
	key := hex.EncodeToString(hash.Sum(nil))[:16]
	return filepath.Join(cache, "kubernetes-"+KubernetesVersion, name+"-"+key), err
}

// digest takes in every file below a folder, by its name and content.
func digest(hash io.Writer, root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(hash, "%s %d\n%s", strings.TrimPrefix(path, root), len(content), content)
		return err
	})
}

// removeOthers removes what older sources were built to. Running clusters have links of their own.
func removeOthers(path, name string) error {
	all, err := filepath.Glob(filepath.Join(filepath.Dir(path), name+"-????????????????"))
	if err != nil {
		return err
	}
	for _, other := range all {
		if other == path {
			continue
		}
		if err := os.Remove(other); err != nil {
			return err
		}
	}
	return nil
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Lock waits for a lock that ends with the process, or with the function that it returns.
func Lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}
