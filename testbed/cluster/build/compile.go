package build

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// progress is how often a build tells that it is alive.
const progress = 10 * time.Second

// compile runs a recipe and tells how far it is.
func (b Builder) compile(name, folder string, recipe recipe, out string) error {
	words := recipe.command(out)
	command := exec.Command(words[0], words[1:]...)
	command.Dir = folder
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	said, err := command.StderrPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	b.Say("building " + strings.TrimSuffix(name+": "+recipe.note, ": "))
	if err := command.Start(); err != nil {
		return fmt.Errorf("build %s: %w", name, err)
	}
	errors := b.follow(name, start, said)
	if err := command.Wait(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", name, err, strings.Join(errors, "\n"))
	}
	b.Say(fmt.Sprintf("built %s in %s", name, time.Since(start).Round(time.Second)))
	return nil
}

// follow counts the packages that `go build -v` names, and returns the last of what else it says.
func (b Builder) follow(name string, start time.Time, said io.Reader) (others []string) {
	packages, told := 0, time.Now()
	for lines := bufio.NewScanner(said); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "go: downloading "):
		case isPackage(line):
			packages++
		default:
			others = append(others, line)
		}
		if len(others) > 40 {
			others = others[1:]
		}
		if time.Since(told) > progress {
			told = time.Now()
			b.Say(fmt.Sprintf("  %s: %d packages after %s", name, packages, told.Sub(start).Round(time.Second)))
		}
	}
	return others
}

func isPackage(line string) bool {
	return line != "" && !strings.ContainsAny(line, " :\t#")
}
