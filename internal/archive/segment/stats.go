package segment

import (
	"time"

	"github.com/restante-im/restante/internal/archive"
)

// Stats implements archive.Archive. Disk includes the most that indexes which are still to be written may take.
func (a *Archive) Stats() archive.Stats {
	a.damages.mu.Lock()
	damaged := a.damages.count
	a.damages.mu.Unlock()
	a.mu.RLock()
	defer a.mu.RUnlock()
	st := archive.Stats{
		Epoch: [8]byte(a.manifest.Epoch), Next: a.next, Disk: int64(len(a.manifest.encode())),
		Puts: a.counts.puts, Duplicates: a.counts.duplicates, Syncs: a.counts.syncs, Pruned: a.counts.pruned,
		Damaged: damaged, Refusing: a.refusing,
	}
	for _, s := range a.slices {
		st.Disk += s.disk()
		if s.tally.count > 0 {
			st.Slices++
		}
		if s.tally.live == 0 {
			continue
		}
		st.Envelopes += s.tally.live
		st.Bytes += int64(s.tally.bytes)
		if st.First == 0 {
			st.First = s.base
			st.Oldest = time.Unix(int64(s.tally.first), 0)
		}
		st.Newest = time.Unix(int64(max(uint32(max(st.Newest.Unix(), 0)), s.tally.last)), 0)
	}
	return st
}
