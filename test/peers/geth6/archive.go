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
	"github.com/ethereum/go-ethereum/whisper/mailserver"
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

// portion is how many envelopes are in memory at a time.
const portion = 1 << 20

// runArchive puts a stream of envelopes into a mail server's archive through its own Archive, and tells what that cost;
// reading them is not counted. Hashes are known before, as they are in a node that has accepted an envelope.
func runArchive(args []string) error {
	f := flag.NewFlagSet("archive", flag.ContinueOnError)
	dir := f.String("dir", "", "LevelDB directory")
	file := f.String("corpus", "", "file or pipe of envelopes: their RLP one after the other")
	writers := f.Int("writers", 1, "goroutines that call Archive; a node has one for each peer")
	compact := f.Bool("compact", false, "compact afterwards and measure again")
	if err := f.Parse(args); err != nil {
		return err
	}
	in, err := os.Open(*file)
	if err != nil {
		return err
	}
	defer in.Close()
	w, err := newWhisper(0, 0)
	if err != nil {
		return err
	}
	m, err := newMailServer(w, *dir, "none")
	if err != nil {
		return err
	}
	r := archiveResult{Event: "result"}
	wrote := written()
	stream := rlp.NewStream(bufio.NewReaderSize(in, 1<<20), 0)
	for {
		list, err := r.read(stream)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		r.measure(func() { archiveAll(m, list, *writers) })
	}
	r.PerS = float64(r.Envelopes) / r.Seconds
	seconds := r.Seconds
	r.measure(m.Close)
	r.Seconds, r.Written = seconds, written()-wrote
	r.CPUUS /= float64(max(r.Envelopes, 1))
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

// measure adds what fn takes.
func (r *archiveResult) measure(fn func()) {
	start, used := time.Now(), driver.CPU()
	fn()
	r.Seconds += time.Since(start).Seconds()
	r.CPUUS += float64((driver.CPU() - used).Microseconds())
}

func archiveAll(m *mailserver.WMailServer, list []*whisperv6.Envelope, writers int) {
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := i; n < len(list); n += writers {
				m.Archive(list[n])
			}
		})
	}
	all.Wait()
}

// read returns the next portion, empty at the end.
func (r *archiveResult) read(stream *rlp.Stream) (list []*whisperv6.Envelope, err error) {
	for len(list) < portion {
		raw, err := stream.Raw()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		env := new(whisperv6.Envelope)
		if err := rlp.DecodeBytes(raw, env); err != nil {
			return nil, err
		}
		env.Hash()
		list = append(list, env)
		r.Bytes += int64(len(raw))
	}
	r.Envelopes += len(list)
	return list, nil
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
