package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment"
	"github.com/restante-im/restante/internal/corpus"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// archiveArgs are what children that work on an archive are told.
type archiveArgs struct {
	dir   string // of the archive
	file  string // corpus
	count int
	step  string // scale: what to do
	to    string // enode of a mail server or pipe
	size  int    // of packets, in bytes
	end   int64  // scale: Unix second at which the corpus ends
}

func (a *archiveArgs) flags() {
	flag.StringVar(&a.dir, "dir", "", "")
	flag.StringVar(&a.file, "corpus", "", "")
	flag.IntVar(&a.count, "count", 0, "")
	flag.StringVar(&a.step, "step", "", "")
	flag.StringVar(&a.to, "to", "", "")
	flag.IntVar(&a.size, "size", 0, "")
	flag.Int64Var(&a.end, "end", 0, "")
}

func (a *archiveArgs) strings() []string {
	return []string{"-dir", a.dir, "-corpus", a.file, "-count", fmt.Sprint(a.count), "-step", a.step,
		"-to", a.to, "-size", fmt.Sprint(a.size), "-end", fmt.Sprint(a.end)}
}

// startChild runs this program again for one job.
func startChild(name string, with archiveArgs) (*peerproc.Raw, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return peerproc.StartRaw(self, append([]string{"-child", name}, with.strings()...)...)
}

// child is startChild and decodes the line that it prints at the end.
func child(ctx context.Context, name string, with archiveArgs, v any) error {
	raw, err := startChild(name, with)
	if err != nil {
		return err
	}
	defer raw.Close()
	return raw.Result(ctx, v)
}

// How envelopes come in: in packets, from so many connections at once.
const (
	putPacket  = 64
	putWriters = 16
)

// openArchive opens what the mail server stores in.
func openArchive(dir string) (*segment.Archive, error) { return segment.Open(dir, segment.Options{}) }

// archiveChild puts a corpus into an archive from memory, in a process of its own.
func archiveChild(ctx context.Context, with archiveArgs) error {
	list, size, err := loadCorpus(with.file)
	if err != nil {
		return err
	}
	a, err := openArchive(with.dir)
	if err != nil {
		return err
	}
	r := peerproc.ArchiveResult{Envelopes: len(list), Bytes: size}
	start, used, wrote := time.Now(), ownCPU(), written()
	if err := putAll(ctx, a, list); err != nil {
		return err
	}
	r.Seconds = time.Since(start).Seconds()
	if err := a.Close(); err != nil {
		return err
	}
	n := float64(max(len(list), 1))
	r.CPUUS, r.PerS, r.Written = float64((ownCPU()-used).Microseconds())/n, n/r.Seconds, written()-wrote
	if r.Disk, err = diskUse(with.dir); err != nil {
		return err
	}
	return printEvent("result", r)
}

// printEvent prints a line of a child.
func printEvent(event string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("{\"event\":%q,%s\n", event, b[1:])
	return err
}

// putAll stores the list from several goroutines and returns when all is durable.
func putAll(ctx context.Context, a archive.Archive, list []*envelope.Envelope) error {
	var next atomic.Int64
	errs := make(chan error, putWriters)
	var all sync.WaitGroup
	for range putWriters {
		all.Go(func() {
			for {
				to := int(next.Add(putPacket))
				if to-putPacket >= len(list) {
					return
				}
				if _, err := a.Put(ctx, list[to-putPacket:min(to, len(list))]); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs
}

// loadCorpus reads a file of envelopes into memory.
func loadCorpus(file string) (list []*envelope.Envelope, size int64, err error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer in.Close()
	for r := corpus.NewReader(in); ; {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list, size, nil
		}
		if err != nil {
			return nil, 0, err
		}
		list, size = append(list, e), size+int64(len(e.Raw()))
	}
}

// writeCorpus makes a file of a corpus in the scratch directory.
func (b *bench) writeCorpus(name string, k *corpus.Corpus) (string, error) {
	f, err := os.Create(filepath.Join(b.dir, name))
	if err != nil {
		return "", err
	}
	_, err = k.WriteTo(f)
	return f.Name(), errors.Join(err, f.Close())
}

// written is what this process has sent to disks, in bytes.
func written() (n int64) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "\nwrite_bytes: ")
	fmt.Sscan(rest, &n)
	return n
}

// fillCache reads all files below a directory, so that the system has them in memory as far as it has room.
func fillCache(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(io.Discard, f)
		return err
	})
}

// diskUse is the size of all files below a directory.
func diskUse(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
