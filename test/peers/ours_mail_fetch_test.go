//go:build peers

package peers_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// Exit codes of the program.
const (
	exitFailure    = 1
	exitUnfinished = 6 // nothing more came, but nobody says that this is all
)

// fetched is what the program's fetch brought.
type fetched struct {
	code   int
	stderr string
	list   []*envelope.Envelope
	report struct {
		End, Error, Form, Server, Cursor string
		Envelopes, Duplicates            uint64
		Discarded                        map[string]uint64
		Seconds                          float64
	}
}

// fetch runs the program's fetch.
func fetch(t *testing.T, server string, args ...string) (f fetched) {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "mail.rlp")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, append([]string{"fetch", "--data-dir", dir, "--server", server, "--output", file, "--json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		f.code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	f.stderr = stderr.String()
	if len(out) > 0 {
		var last struct{ Report json.RawMessage }
		if err := json.Unmarshal(out, &last); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if err := json.Unmarshal(last.Report, &f.report); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	f.list = readMail(t, file)
	if f.report.Envelopes != uint64(len(f.list)) {
		t.Errorf("%d envelopes are reported, %d in the file", f.report.Envelopes, len(f.list))
	}
	return f
}

// readMail reads a file of envelopes, one behind the other.
func readMail(t *testing.T, file string) (list []*envelope.Envelope) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for len(b) > 0 {
		_, _, rest, err := rlp.Split(b)
		if err != nil {
			t.Fatal(err)
		}
		env, err := envelope.Decode(b[:len(b)-len(rest)])
		if err != nil {
			t.Fatal(err)
		}
		list, b = append(list, env), rest
	}
	return list
}

// brought checks that exactly the mail that a request asks for came, each once and to the byte.
func (f fetched) brought(t *testing.T, b *mailbag, h peerproc.History) {
	t.Helper()
	want, _ := b.answer(h)
	got := &mailbag{list: slices.Clone(f.list)}
	got.sort()
	if !slices.EqualFunc(want, got.list, func(x, y *envelope.Envelope) bool { return bytes.Equal(x.Raw(), y.Raw()) }) {
		t.Errorf("%d envelopes came, want %d; %s", len(f.list), len(want), f.stderr)
	}
}

// ended checks how the fetch ended.
func (f fetched) ended(t *testing.T, code int, end, form string) {
	t.Helper()
	if f.code != code || f.report.End != end || f.report.Form != form {
		t.Errorf("ended with code %d, %s, form %s; want %d, %s, %s: %s %s", f.code, f.report.End, f.report.Form, code, end, form, f.report.Error, f.stderr)
	}
}

// storedMail makes 3,000 envelopes of the last two hours, 12 MiB, and a file of them. No packet holds them.
func storedMail(t *testing.T) (*mailbag, string) {
	t.Helper()
	const count = 3000
	b := new(mailbag)
	rng := rand.NewChaCha8([32]byte{6})
	began := uint32(time.Now().Unix()) - 2*count - 100
	file, err := os.Create(filepath.Join(t.TempDir(), "corpus"))
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	for i := range uint32(count) {
		data := make([]byte, 100+i%1000)
		if i%50 == 0 {
			data = make([]byte, 200<<10)
		}
		rng.Read(data)
		env := envelope.New(began+2*(i-i%3)+60, 60, mailTopics[i%uint32(len(mailTopics))], data, 0) // three at a second
		b.list = append(b.list, env)
		w.Write(env.Raw())
	}
	b.sort()
	if err := errors.Join(w.Flush(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return b, file.Name()
}

// gethArchive is go-ethereum's mail server with the mail of a file.
func gethArchive(t *testing.T, file string) *peerproc.T {
	t.Helper()
	dir := t.TempDir()
	bin, err := peerproc.Build(t.Context(), peerproc.Geth6, "")
	if err != nil {
		t.Fatal(err)
	}
	fill, err := peerproc.StartRaw(bin, "archive", "-dir", dir, "-corpus", file)
	if err != nil {
		t.Fatal(err)
	}
	defer fill.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var r peerproc.ArchiveResult
	if err := fill.Result(ctx, &r); err != nil {
		t.Fatal(err)
	}
	return peerproc.ForTest(t, peerproc.Geth6, peerproc.Config{MailDir: dir, MailPassword: mailPassword})
}

// span are a request's flags.
func span(h peerproc.History) (args []string) {
	args = []string{"--since", fmt.Sprint(h.From), "--until", fmt.Sprint(h.To)}
	for _, topic := range h.Topics {
		args = append(args, "--topic", fmt.Sprintf("0x%x", topic))
	}
	if len(h.Topics) == 0 {
		args = append(args, "--all")
	}
	return args
}

// fetches are questions for the program's fetch.
func (b *mailbag) fetches() map[string]peerproc.History {
	some := b.all("")
	some.From, some.To = b.list[len(b.list)/3].Sent(), b.list[len(b.list)/2].Sent()
	topics, some2 := b.all(""), some
	topics.Topics, some2.Topics = mailTopics[1:3], mailTopics[3:4]
	return map[string]peerproc.History{"everything": b.all(""), "a range": some, "two topics": topics, "a topic of a range": some2}
}

// TestGeth6MailFetched fetches from go-ethereum's mail server, which tells nobody when it is done.
func TestGeth6MailFetched(t *testing.T) {
	t.Parallel()
	b, file := storedMail(t)
	server := gethArchive(t, file)
	for what, h := range b.fetches() {
		t.Run(what, func(t *testing.T) {
			f := fetch(t, server.Enode, append(span(h), "--form", "bare")...)
			f.brought(t, b, h)
			f.ended(t, exitUnfinished, "assumed", "bare")
			if !strings.Contains(f.stderr, "does not say whether this is all") {
				t.Error(f.stderr)
			}
			t.Logf("%d envelopes in %.1f s, %d twice, discarded %v", len(f.list), f.report.Seconds, f.report.Duplicates, f.report.Discarded)
		})
	}
	t.Run("found out", func(t *testing.T) {
		f := fetch(t, server.Enode, append(span(b.all("")), "--form", "auto")...)
		f.brought(t, b, b.all(""))
		f.ended(t, exitUnfinished, "assumed", "bare")
	})
	t.Run("limit", func(t *testing.T) { testFetchedInParts(t, b, server.Enode, "bare", exitUnfinished) })
	t.Run("another password", func(t *testing.T) {
		f := fetch(t, server.Enode, append(span(b.all("")), "--form", "bare", "--mailserver-password", "another")...)
		f.ended(t, exitUnfinished, "assumed", "bare")
		if len(f.list) > 0 || !strings.Contains(f.stderr, "did not react") {
			t.Errorf("%d envelopes: %s", len(f.list), f.stderr)
		}
	})
	t.Run("mail1", func(t *testing.T) {
		if f := fetch(t, server.Enode, "--all", "--form", "mail1"); f.code != exitFailure || !strings.Contains(f.stderr, "does not speak mail/1") {
			t.Errorf("code %d: %s", f.code, f.stderr)
		}
	})
	stayedUp(t, server)
}

// TestGeth6MailNotPaged asks go-ethereum's mail server, when it holds nothing, for pages: no answer is no end. With an
// archive on disk it would crash, so nobody whose program says what it is is asked so unless told.
func TestGeth6MailNotPaged(t *testing.T) {
	t.Parallel()
	server := peerproc.ForTest(t, peerproc.Geth6, peerproc.Config{MailDir: t.TempDir(), MailPassword: mailPassword})
	if f := fetch(t, server.Enode, "--all", "--form", "paged"); f.code != exitFailure || !strings.Contains(f.stderr, "did not answer") {
		t.Errorf("code %d: %s", f.code, f.stderr)
	}
	if f := fetch(t, server.Enode, "--all"); f.code != exitUnfinished || !strings.Contains(f.stderr, "did not react") {
		t.Errorf("code %d: %s", f.code, f.stderr)
	}
	stayedUp(t, server)
}

// stayedUp fails the test if a node is gone, or ended a connection for what it got; those who fetch leave.
func stayedUp(t *testing.T, p *peerproc.T) {
	t.Helper()
	p.Info()
	if n := p.Count(func(e peerproc.Event) bool {
		return e.Kind == peerproc.PeerClosed && strings.Contains(e.Reason, "invalid")
	}); n > 0 {
		t.Errorf("%d connections were ended for what we sent", n)
	}
}

// testFetchedInParts stops at a limit and goes on with the cursor that was printed, until all is there.
func testFetchedInParts(t *testing.T, b *mailbag, server, form string, last int) {
	t.Helper()
	want := map[[32]byte]bool{}
	for _, env := range b.list {
		want[env.Hash()] = true
	}
	args, got := append(span(b.all("")), "--form", form, "--limit", "1300"), map[[32]byte]int{}
	for part := 1; len(got) < len(want); part++ {
		f := fetch(t, server, args...)
		for _, env := range f.list {
			if got[env.Hash()]++; !want[env.Hash()] {
				t.Fatalf("%s is none of ours", env.Hash())
			}
		}
		if f.report.End != "limited" {
			f.ended(t, last, map[int]string{0: "complete", exitUnfinished: "assumed"}[last], f.report.Form)
			break
		}
		if f.code != 0 || len(f.list) != 1300 || f.report.Cursor == "" || part > 10 {
			t.Fatalf("part %d: code %d, %d envelopes, cursor %q: %s", part, f.code, len(f.list), f.report.Cursor, f.stderr)
		}
		args = []string{"--all", "--form", form, "--cursor", f.report.Cursor}
	}
	if len(got) != len(want) {
		t.Errorf("%d of %d envelopes came", len(got), len(want))
	}
}

// TestOursMailFetched fetches from our mail server in every form.
func TestOursMailFetched(t *testing.T) {
	t.Parallel()
	b, file := storedMail(t)
	o := startMail(t)
	o.importMail(file, len(b.list))
	for form, name := range map[string]string{"auto": "mail1", "mail1": "mail1", "paged": "paged", "bare": "bare"} {
		testFetchedForm(t, b, o, form, name)
	}
	t.Run("sealed for its key", func(t *testing.T) {
		f := fetch(t, o.enode, append(span(b.all("")), "--form", "paged", "--mailserver-password", "")...)
		f.brought(t, b, b.all(""))
		f.ended(t, 0, "complete", "paged")
	})
	t.Run("another password", func(t *testing.T) {
		f := fetch(t, o.enode, append(span(b.all("")), "--form", "paged", "--mailserver-password", "another")...)
		if f.code != exitFailure || len(f.list) > 0 || !strings.Contains(f.stderr, "failed to decrypt") {
			t.Errorf("code %d, %d envelopes: %s", f.code, len(f.list), f.stderr)
		}
	})
}

// TestWaku1MailFetched fetches from our mail server over waku/1, the only dialect that it speaks there.
func TestWaku1MailFetched(t *testing.T) {
	t.Parallel()
	b, file := storedMail(t)
	o := startMail(t, "--set", onlyWaku())
	o.importMail(file, len(b.list))
	for form, name := range map[string]string{"mail1": "mail1", "paged": "paged", "bare": "bare"} {
		testFetchedForm(t, b, o, form, name)
	}
}

func testFetchedForm(t *testing.T, b *mailbag, o *ours, form, name string) {
	for what, h := range b.fetches() {
		t.Run(form+", "+what, func(t *testing.T) {
			f := fetch(t, o.enode, append(span(h), "--form", form)...)
			f.brought(t, b, h)
			f.ended(t, 0, "complete", name)
			if f.report.Duplicates > 0 && form != "bare" {
				t.Errorf("%d came twice", f.report.Duplicates)
			}
			t.Logf("%d envelopes in %.2f s, %d twice, discarded %v", len(f.list), f.report.Seconds, f.report.Duplicates, f.report.Discarded)
		})
	}
	t.Run(form+", limit", func(t *testing.T) { testFetchedInParts(t, b, o.enode, form, 0) })
}

// importMail fills our mail server's archive.
func (o *ours) importMail(file string, count int) {
	o.t.Helper()
	if r := ask[rpc.ArchiveImported](o, "archive_import", file); r.New != uint64(count) {
		o.t.Fatalf("imported %+v, want %d", r, count)
	}
}
