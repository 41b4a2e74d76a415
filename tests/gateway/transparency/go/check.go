// Reads a public log with Go's own sumdb/note and sumdb/tlog, and judges proofs that Python made.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run check.go DIRECTORY
//
// DIRECTORY holds key, checkpoint, tile/… and proofs.json. It prints one line for each proof, "ok" or why not, and
// ends with status 1 where checkpoint or tiles do not hold.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type proof struct {
	Kind   string   // inclusion or consistency
	Size   int64    // of the tree
	Root   string   // of the tree
	Index  int64    // of the leaf, or the old size
	Hash   string   // of the leaf, or the old root
	Hashes []string // the proof
}

type tiles string

func (tiles) Height() int                     { return 8 }
func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		// Go's paths name the height, C2SP's do not.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(t), path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func main() {
	directory := os.Args[1]
	tree := open(directory)
	reader := tlog.TileHashReader(tree, tiles(directory))
	root, err := tlog.TreeHash(tree.N, reader)
	must(err)
	if root != tree.Hash {
		must(fmt.Errorf("the tiles make another root"))
	}
	var proofs []proof
	must(json.Unmarshal(read(directory, "proofs.json"), &proofs))
	for _, each := range proofs {
		if err := judge(each); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("ok")
		}
	}
}

func open(directory string) tlog.Tree {
	verifier, err := note.NewVerifier(strings.TrimSpace(string(read(directory, "key"))))
	must(err)
	opened, err := note.Open(read(directory, "checkpoint"), note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	var size int64
	_, err = fmt.Sscan(lines[1], &size)
	must(err)
	return tlog.Tree{N: size, Hash: hash(lines[2])}
}

func judge(p proof) error {
	var hashes []tlog.Hash
	for _, each := range p.Hashes {
		hashes = append(hashes, hash(each))
	}
	if p.Kind == "inclusion" {
		return tlog.CheckRecord(hashes, p.Size, hash(p.Root), p.Index, hash(p.Hash))
	}
	return tlog.CheckTree(hashes, p.Size, hash(p.Root), p.Index, hash(p.Hash))
}

func hash(encoded string) tlog.Hash {
	parsed, err := tlog.ParseHash(encoded)
	must(err)
	return parsed
}

func read(directory, name string) []byte {
	data, err := os.ReadFile(filepath.Join(directory, name))
	must(err)
	return data
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
