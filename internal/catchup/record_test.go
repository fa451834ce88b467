package catchup_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

func TestAnOpenFetchIsReadAsItWasWritten(t *testing.T) {
	f := catchup.OpenFetch{
		ID: 7, Server: nodeaddr.ID{1, 2}, Topics: []envelope.Topic{{1}, {2, 3}}, From: 5, To: 9, After: 1 << 40,
		Position: "a-0102030405060708-99", Began: time.Unix(1795000000, 0).UTC(),
	}
	got, err := catchup.ParseOpenFetch(f.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseOpenFetch(f *testing.F) {
	whole := catchup.OpenFetch{ID: 1, Topics: []envelope.Topic{{1}}, Position: "b-1-2"}
	f.Add(whole.Marshal())
	f.Add([]byte(`{"v":1,"id":1,"server":"00","topics":"01020304"}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := catchup.ParseOpenFetch(b)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) {
				t.Fatal(err)
			}
			return
		}
		if again, err := catchup.ParseOpenFetch(got.Marshal()); err != nil || !cmp.Equal(got, again) {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}
