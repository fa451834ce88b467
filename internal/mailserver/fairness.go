package mailserver

import (
	"hash/crc32"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
)

const (
	sliceTime    = time.Hour      // over which admission is shared
	leastFill    = 24 * time.Hour // the cap is not meant to be filled faster
	shares       = 8              // nobody may have more than 1/shares of a slice's budget, unless few want it
	topicBuckets = 256
	maxAdmitted  = 1 << 14 // sources counted apart in a slice; the rest share one count
)

// fairness decides who may have something archived when the archive has a cap. A slice's budget is what would just fill the cap
// within the promised minimum. While half of it is unused everybody is admitted; then nobody beyond his share, be it an
// address prefix or a bucket of topics. It is not safe for concurrent use.
type fairness struct {
	budget  float64 // bytes of a slice; 0 for no cap
	slice   int64
	used    int64
	sources map[string]int64
	topics  [topicBuckets]int64
	buckets int // topics that are not 0
}

func (f *fairness) setRules(r archive.Rules) {
	f.budget = float64(r.Cap) * float64(sliceTime) / float64(max(r.Min, leastFill))
}

// admit counts an envelope, or returns why it is declined. A source "" has no share to exceed.
func (f *fairness) admit(now time.Time, env *envelope.Envelope, source string) (declined string) {
	if f.budget <= 0 {
		return ""
	}
	if slice := now.Unix() / int64(sliceTime/time.Second); slice != f.slice || f.sources == nil {
		f.slice, f.used, f.buckets = slice, 0, 0
		f.sources, f.topics = map[string]int64{}, [topicBuckets]int64{}
	}
	size := int64(len(env.Raw()))
	source, bucket := f.counted(source), bucketOf(env.Topic())
	if float64(f.used+size) > f.budget/2 {
		if source != "" && f.exceeds(f.sources[source], size, len(f.sources)) {
			return "the mail server is short of space and took more than a fair share from your network in this hour; it will take more in the next"
		}
		if f.exceeds(f.topics[bucket], size, f.buckets) {
			return "the mail server is short of space and took more than a fair share for this topic in this hour; it will take more in the next"
		}
	}
	f.count(source, bucket, size)
	return ""
}

// counted is the name under which a source is counted.
func (f *fairness) counted(source string) string {
	if _, ok := f.sources[source]; !ok && source != "" && len(f.sources) >= maxAdmitted {
		return "others"
	}
	return source
}

// exceeds reports whether one of active that has used so much may not use size more.
func (f *fairness) exceeds(used, size int64, active int) bool {
	if used == 0 {
		active++
	}
	return float64(used+size) > f.budget/float64(min(shares, max(1, active)))
}

func (f *fairness) count(source string, bucket int, size int64) {
	f.used += size
	if source != "" {
		f.sources[source] += size
	}
	if f.topics[bucket] == 0 {
		f.buckets++
	}
	f.topics[bucket] += size
}

// refund takes back what was counted for an envelope that could not be stored, or had been stored before.
func (f *fairness) refund(now time.Time, env *envelope.Envelope, source string) {
	if f.budget <= 0 || now.Unix()/int64(sliceTime/time.Second) != f.slice {
		return
	}
	size := int64(len(env.Raw()))
	source, bucket := f.counted(source), bucketOf(env.Topic())
	f.used = max(0, f.used-size)
	f.topics[bucket] = max(0, f.topics[bucket]-size)
	if f.topics[bucket] == 0 {
		f.buckets = max(0, f.buckets-1)
	}
	if source == "" {
		return
	}
	if f.sources[source] = max(0, f.sources[source]-size); f.sources[source] == 0 {
		delete(f.sources, source)
	}
}

// bucketOf spreads topics evenly, whatever pattern they have.
func bucketOf(t envelope.Topic) int {
	return int(crc32.ChecksumIEEE(t[:]) % topicBuckets)
}
