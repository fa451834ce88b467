package archivetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// logged is the simplest archive that keeps its promises: all is in memory, and one file is its log. It shows that what
// Faults demands can be met.
type logged struct {
	archive.Archive
	mu   sync.Mutex
	file vfs.File
	end  int64
	crc  uint32 // of all frames so far, so that what a failed put left behind is never taken for a frame
	lock io.Closer
}

const logHeader = 12

func openLogged(o Options) (a archive.Archive, err error) {
	l := &logged{}
	lock, err := prepare(o)
	if err != nil {
		return nil, fault.E("open", fault.Unavailable, err, "the disk fails")
	}
	l.lock = lock
	now := o.Now
	l.Archive, err = mem.Open(mem.Options{Now: func() time.Time { return now() }, Rand: bytes.NewReader(make([]byte, 8))})
	if err == nil {
		l.file, err = o.FS.OpenReadWrite(archiveDir+"/log", vfs.WriteCategoryUnspecified)
	}
	if err == nil {
		err = syncDir(o.FS, archiveDir)
	}
	if err == nil {
		err = l.replay(&now)
	}
	now = o.Now
	if err != nil {
		return nil, errors.Join(fault.E("open", fault.Unavailable, err, "the disk fails"), lock.Close())
	}
	return l, nil
}

func prepare(o Options) (io.Closer, error) {
	if err := o.FS.MkdirAll(archiveDir, 0o700); err != nil {
		return nil, err
	}
	if err := syncDir(o.FS, "/"); err != nil {
		return nil, err
	}
	return o.FS.Lock(archiveDir + "/lock")
}

func syncDir(fs vfs.FS, name string) error {
	d, err := fs.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (l *logged) replay(now *func() time.Time) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	data := make([]byte, info.Size())
	if len(data) > 0 {
		if _, err := l.file.ReadAt(data, 0); err != nil {
			return err
		}
	}
	for len(data) >= logHeader {
		size := int(binary.LittleEndian.Uint32(data))
		if size > len(data)-logHeader || size == 0 {
			break
		}
		crc := crc32.Update(l.crc, crc32.IEEETable, data[8:logHeader+size])
		if crc != binary.LittleEndian.Uint32(data[4:]) {
			break
		}
		*now = func() time.Time { return time.Unix(int64(binary.LittleEndian.Uint32(data[8:])), 0) }
		e, err := envelope.Decode(data[logHeader : logHeader+size])
		if err != nil {
			return err
		}
		if _, err := l.Archive.Put(context.Background(), []*envelope.Envelope{e}); err != nil {
			return err
		}
		data, l.end, l.crc = data[logHeader+size:], l.end+int64(logHeader+size), crc
	}
	return nil
}

func (l *logged) Put(ctx context.Context, list []*envelope.Envelope) ([]archive.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var hashes []envelope.Hash
	for _, e := range list {
		hashes = append(hashes, e.Hash())
	}
	found, err := l.Find(ctx, hashes, false)
	if err != nil {
		return nil, err
	}
	var frames []byte
	crc := l.crc
	for i, e := range list {
		if found[i].Arrival > 0 {
			continue
		}
		body := binary.LittleEndian.AppendUint32(nil, start) // this archive's clock stands still
		body = append(body, e.Raw()...)
		crc = crc32.Update(crc, crc32.IEEETable, body)
		frames = binary.LittleEndian.AppendUint32(frames, uint32(len(e.Raw())))
		frames = binary.LittleEndian.AppendUint32(frames, crc)
		frames = append(frames, body...)
	}
	if len(frames) > 0 {
		if _, err := l.file.WriteAt(frames, l.end); err != nil {
			return nil, fault.E("put", fault.Unavailable, err, "the disk fails")
		}
		if err := l.file.Sync(); err != nil {
			return nil, fault.E("put", fault.Unavailable, err, "the disk fails")
		}
	}
	l.end, l.crc = l.end+int64(len(frames)), crc
	return l.Archive.Put(ctx, list)
}

func (l *logged) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lock == nil {
		return nil
	}
	err := errors.Join(l.file.Close(), l.lock.Close(), l.Archive.Close())
	l.lock = nil
	return err
}

func TestFaultsCanBeSurvived(t *testing.T) {
	open := func(o Options) (archive.Archive, error) {
		o.Now = NewClock().Now
		return openLogged(o)
	}
	t.Run("Crash", func(t *testing.T) { testCrash(t, open) })
	t.Run("CrashWithoutSyncIsSeen", func(t *testing.T) { testCrashWithoutSyncIsSeen(t, open) })
	t.Run("FailingWrites", func(t *testing.T) { testFailingWrites(t, open) })
	t.Run("FailingReads", func(t *testing.T) { testFailingReads(t, open) })
	t.Run("FullDisk", func(t *testing.T) { testFullDisk(t, open) })
}
