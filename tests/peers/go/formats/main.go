// Answers, one JSON line each, what Go's archive/tar writes as a header and what moby's patternmatcher ignores.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

type question struct {
	Name      []byte
	Mode      int64
	Size      int64
	Directory bool
	Ignore    []byte
	Paths     []string
}

type answer struct {
	Header  []byte
	Ignored []bool
	Error   string
	// A pattern is malformed, also where filepath.Match gives up before it gets to the fault.
	Malformed bool
}

func header(asked question) (answer, error) {
	var out bytes.Buffer
	kind := byte(tar.TypeReg)
	if asked.Directory {
		kind = tar.TypeDir
	}
	err := tar.NewWriter(&out).WriteHeader(&tar.Header{
		Name: string(asked.Name), Mode: asked.Mode, Size: asked.Size, Typeflag: kind, Uid: 1000,
	})
	return answer{Header: out.Bytes()}, err
}

func ignored(asked question) (answer, error) {
	lines, err := ignorefile.ReadAll(bytes.NewReader(asked.Ignore))
	if err != nil {
		return answer{}, err
	}
	matcher, err := patternmatcher.New(append(lines, "Kitfile", "kitfile", ".kitfile", ".kitignore"))
	if err != nil {
		return answer{}, err
	}
	var found answer
	for _, line := range lines {
		_, err := path.Match(strings.TrimPrefix(line, "!"), "")
		found.Malformed = found.Malformed || err != nil
	}
	for _, name := range asked.Paths {
		match, err := matcher.MatchesOrParentMatches(name)
		if err != nil {
			return found, err
		}
		found.Ignored = append(found.Ignored, match)
	}
	return found, nil
}

func main() {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for in.More() {
		var asked question
		if err := in.Decode(&asked); err != nil {
			panic(err)
		}
		reply := header
		if asked.Paths != nil {
			reply = ignored
		}
		given, err := reply(asked)
		if err != nil {
			given.Error = err.Error()
		}
		if err := out.Encode(given); err != nil {
			panic(err)
		}
	}
}
