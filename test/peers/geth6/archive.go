package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/whisper/whisperv6"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/restante-im/restante/test/peers/driver"
)

type archiveResult struct {
	Event     string  `json:"event"` // result
	Envelopes int     `json:"envelopes"`
	Bytes     int64   `json:"bytes"`   // RLP
	Seconds   float64 `json:"seconds"` // until the last was taken
	PerS      float64 `json:"per_s"`
	CPUUS     float64 `json:"cpu_us"`        // for each envelope, closing included
	Written   int64   `json:"written_bytes"` // to the disk, closing included
	Disk      int64   `json:"disk_bytes"`
	Compacted int64   `json:"compacted_bytes"` // with -compact
	usage
}

// runArchive puts a file of envelopes into a mail server's archive through its own Archive, from memory, and tells
// what that cost. Hashes are known before, as they are in a node that has accepted an envelope.
func runArchive(args []string) error {
	f := flag.NewFlagSet("archive", flag.ContinueOnError)
	dir := f.String("dir", "", "LevelDB directory")
	file := f.String("corpus", "", "file of envelopes: their RLP one after the other")
	writers := f.Int("writers", 1, "goroutines that call Archive; a node has one for each peer")
	compact := f.Bool("compact", false, "compact afterwards and measure again")
	if err := f.Parse(args); err != nil {
		return err
	}
	list, size, err := readCorpus(*file)
	if err != nil {
		return err
	}
	w, err := newWhisper(0, 0)
	if err != nil {
		return err
	}
	m, err := newMailServer(w, *dir, "none")
	if err != nil {
		return err
	}
	r := archiveResult{Event: "result", Envelopes: len(list), Bytes: size}
	start, used, wrote := time.Now(), driver.CPU(), written()
	var all sync.WaitGroup
	for i := range *writers {
		all.Go(func() {
			for n := i; n < len(list); n += *writers {
				m.Archive(list[n])
			}
		})
	}
	all.Wait()
	r.Seconds = time.Since(start).Seconds()
	m.Close()
	r.CPUUS = float64((driver.CPU() - used).Microseconds()) / float64(len(list))
	r.PerS, r.Written = float64(len(list))/r.Seconds, written()-wrote
	if r.Disk, err = diskUse(*dir); err != nil {
		return err
	}
	if *compact {
		if err := compactAll(*dir); err != nil {
			return err
		}
		if r.Compacted, err = diskUse(*dir); err != nil {
			return err
		}
	}
	r.usage = use()
	say(r)
	return nil
}

// written is what this process has sent to disks, in bytes; 0 where /proc does not tell.
func written() (n int64) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "\nwrite_bytes: ")
	fmt.Sscan(rest, &n)
	return n
}

func readCorpus(file string) (list []*whisperv6.Envelope, size int64, err error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer in.Close()
	stream := rlp.NewStream(bufio.NewReaderSize(in, 1<<20), 0)
	for {
		env := new(whisperv6.Envelope)
		if err := stream.Decode(env); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, 0, err
		}
		env.Hash()
		list = append(list, env)
	}
	info, err := in.Stat()
	if err != nil {
		return nil, 0, err
	}
	return list, info.Size(), nil
}

func compactAll(dir string) error {
	db, err := leveldb.OpenFile(dir, &opt.Options{OpenFilesCacheCapacity: 32})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.CompactRange(util.Range{})
}

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
