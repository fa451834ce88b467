package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/restante-im/restante/internal/members"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
)

const membersLong = `A mail server in members mode (mode = "members" under [mailserver] in its configuration) answers
its members only. A member is a person, known by the keys of a few devices; a device becomes a
member's by an invitation link, or is added by hand. These commands ask the running node.`

const membersExample = `  restante members invite Anna --quota 500MB --qr       a link for Anna, also to be taken by a phone
  restante members add Bela enode://…@192.0.2.9:30303   for a program that knows no invitations
  restante members list
  restante members remove Anna --device 1a2b3c4d        she lost a phone
  restante members revoke Bela                          he may not ask any more`

func (a *App) membersCommand() *cobra.Command {
	g := group("members", "invite, list and revoke the members of the mail server",
		a.membersInvite(), a.membersList(), a.membersAdd(), a.membersRevoke(), a.membersRemove())
	g.Long = membersLong
	g.Example = membersExample
	return g
}

const inviteLong = `Invite makes a member and prints the link by which the member's devices join. The link is shown
this once: the node keeps only a hash of what it holds. Whoever has the link can join until it
expires or as many devices have joined as may; hand it over on a way that others do not read.
With --again an existing member gets a new link, and the old one ends; a quota or number of
devices that is given with it takes the place of the old.`

const inviteExample = `  restante members invite Anna
  restante members invite Anna --again --quota none     a new link, and no quota any more
  restante members invite "The Smiths" --devices 12 --expires 2d --qr`

func (a *App) membersInvite() *cobra.Command {
	var req rpc.NewInvitation
	var drawn, asJSON bool
	cmd := &cobra.Command{
		Use:     "invite NAME",
		Short:   "make a member and print the link by which devices join",
		Long:    inviteLong,
		Example: inviteExample,
		Args:    arguments(1, 1, "the member's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("devices") && (req.Devices < 1 || req.Devices > members.MaxDevices) {
				return usage(cmd, "--devices is %d; allowed: 1 to %d", req.Devices, members.MaxDevices)
			}
			req.Name = args[0]
			return a.invite(cmd.Context(), req, drawn, asJSON)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Func("quota", "`SIZE` that may be fetched a day, such as 500MB, or none (default none)", func(s string) (err error) {
		req.BytesPerDay, err = parseQuota(s)
		return err
	})
	f.IntVar(&req.Devices, "devices", 0, fmt.Sprintf("`NUMBER` of devices that the member may have (default %d)", members.DefaultDevices))
	f.Func("expires", "`TIME` for which the link can be used, such as 12h or 30d (default 7d)", func(s string) (err error) {
		req.Expires, err = parseExpiry(s)
		return err
	})
	f.BoolVar(&req.Again, "again", false, "give an existing member a new link")
	f.BoolVar(&drawn, "qr", false, "draw the link as a QR code, too")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	exclusive(cmd, "qr", "json")
	return cmd
}

func (a *App) invite(ctx context.Context, req rpc.NewInvitation, drawn, asJSON bool) error {
	var in rpc.Invitation
	raw, err := a.ask(ctx, &in, "members_invite", req)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.Out, raw)
	}
	fmt.Fprintln(a.Out, printable(in.Link))
	if drawn {
		drawing, err := qrText(in.Link)
		if err != nil { // the link stands above, and could not be had again
			a.note("no QR code: %v", err)
		}
		_, _ = io.WriteString(a.Out, drawing)
	}
	m := &in.Member
	a.note("%s may join with %s until %s", printable(called(m)), plural(m.MaxDevices-len(m.Devices), "device", "devices"),
		showTime(m.Invited))
	a.note("the link is shown this once; whoever has it can join")
	return nil
}

func (a *App) membersList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the members, their devices and what they fetched today",
		Long: "List shows the members, also those who were revoked. Devices appear with the first digits of their node ids, which\n" +
			"`restante members remove --device` takes. With --json it prints the answer of members_list.",
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []rpc.Member
			raw, err := a.ask(cmd.Context(), &list, "members_list")
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.Out, raw)
			}
			return a.showMembers(list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	return cmd
}

func (a *App) showMembers(list []rpc.Member) error {
	if len(list) == 0 {
		a.note("no members; `restante members invite` makes one")
		return nil
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tTODAY\tSTATE\tDEVICES")
	for i := range list {
		m := &list[i]
		today := showBytes(m.UsedToday)
		if m.BytesPerDay > 0 {
			today += " of " + showBytes(m.BytesPerDay)
		}
		devices := fmt.Sprintf("%d of %d", len(m.Devices), m.MaxDevices)
		for _, d := range m.Devices {
			devices += " " + d.ID[:min(len(d.ID), shortID)]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(m.ID), printable(m.Name), today, membership(m), printable(devices))
	}
	return w.Flush()
}

// membership says in a few words whether a member may ask.
func membership(m *rpc.Member) string {
	switch {
	case !m.Revoked.IsZero():
		return "revoked " + showTime(m.Revoked)
	case len(m.Devices) == 0 && m.Invited.IsZero():
		return "not joined"
	case len(m.Devices) == 0:
		return "invited until " + showTime(m.Invited)
	case !m.Invited.IsZero():
		return "member, link until " + showTime(m.Invited)
	}
	return "member"
}

func (a *App) membersAdd() *cobra.Command {
	return &cobra.Command{
		Use:   "add NAME ENODE-OR-KEY",
		Short: "make a device a member's by hand",
		Long: "Add is for programs that know no invitation links: it makes the program with this enode URL or public key a device of\n" +
			"the member. Where there is no member of this name it makes one, without a quota.",
		Args: arguments(2, 2, "the member's name or the device's address"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := nodeaddr.ParseIdentity(args[1]); err != nil {
				return err
			}
			var added rpc.Addition
			if _, err := a.ask(cmd.Context(), &added, "members_add", args[0], args[1]); err != nil {
				return err
			}
			m := &added.Member
			if added.Made {
				a.note("%s is a new member", printable(called(m)))
			}
			a.note("added; %s has %d of %d devices", printable(called(m)), len(m.Devices), m.MaxDevices)
			return nil
		},
	}
}

func (a *App) membersRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME-OR-ID",
		Short: "end a membership; the member stays listed",
		Long: "Revoke ends a membership at once: the devices are refused from then on, and the invitation is void. The member stays\n" +
			"listed; `restante members remove` forgets it.",
		Args: arguments(1, 1, "the member's name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var m rpc.Member
			if _, err := a.ask(cmd.Context(), &m, "members_revoke", args[0]); err != nil {
				return err
			}
			a.note("revoked %s with %s", printable(called(&m)), plural(len(m.Devices), "device", "devices"))
			return nil
		},
	}
}

func (a *App) membersRemove() *cobra.Command {
	var device string
	cmd := &cobra.Command{
		Use:   "remove NAME-OR-ID",
		Short: "forget a member, or one device of a member",
		Long: "Remove forgets a member with all devices, and the name is free again. With --device it takes one device away, such as\n" +
			"a phone that was lost; the member's invitation ends then, since the device may hold it.",
		Args: arguments(1, 1, "the member's name or id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("device") {
				if device == "" {
					return usage(cmd, "--device is empty")
				}
				return a.removeDevice(cmd.Context(), args[0], device)
			}
			var m rpc.Member
			if _, err := a.ask(cmd.Context(), &m, "members_remove", args[0]); err != nil {
				return err
			}
			a.note("removed %s with %s", printable(called(&m)), plural(len(m.Devices), "device", "devices"))
			return nil
		},
	}
	cmd.Flags().StringVar(&device, "device", "", "remove only the device with this `ID`, or its first digits as the list shows them")
	return cmd
}

// removeDevice finds the device that is meant, for the node takes whole ids only.
func (a *App) removeDevice(ctx context.Context, who, device string) error {
	var list []rpc.Member
	if _, err := a.ask(ctx, &list, "members_list"); err != nil {
		return err
	}
	var found []string
	for i := range list {
		if list[i].ID != who && !strings.EqualFold(list[i].Name, who) {
			continue
		}
		for _, d := range list[i].Devices {
			if strings.HasPrefix(d.ID, strings.ToLower(device)) {
				found = append(found, d.ID)
			}
		}
	}
	const hint = "`restante members list` shows the devices"
	switch {
	case len(found) == 0:
		return fail(ExitFailure, hint, "there is no member %q with a device %q", who, device)
	case len(found) > 1:
		return fail(ExitFailure, hint, "%d devices of %q begin with %q", len(found), who, device)
	}
	var m rpc.Member
	if _, err := a.ask(ctx, &m, "members_removeDevice", found[0]); err != nil {
		return err
	}
	a.note("removed the device %s; %s has %d of %d devices", found[0][:min(len(found[0]), shortID)], printable(called(&m)), len(m.Devices), m.MaxDevices)
	return nil
}

const shortID = 8 // digits of a device's id in lists

// called names a member so that two cannot be mixed up.
func called(m *rpc.Member) string { return fmt.Sprintf("%s (%s)", m.Name, m.ID) }

func showTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }

// parseQuota reads a size with a unit, or "none".
func parseQuota(s string) (int64, error) {
	if s == "none" {
		return rpc.NoQuota, nil
	}
	n, err := parseSize(s)
	if err != nil {
		err = fmt.Errorf("%w, or none", err)
	}
	return n, err
}

// parseSize reads a number of bytes with a unit.
func parseSize(s string) (int64, error) {
	for _, u := range []struct {
		name  string
		bytes float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}} {
		digits, found := strings.CutSuffix(s, u.name)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if bytes := n * u.bytes; err == nil && bytes >= 1 && bytes < math.MaxInt64 {
			return int64(bytes), nil
		}
		break
	}
	return 0, errors.New("allowed: a size such as 500MB or 2GiB")
}

// parseExpiry reads a time, which may be given in days, as seconds.
func parseExpiry(s string) (uint32, error) {
	d, err := time.ParseDuration(s)
	if digits, ok := strings.CutSuffix(s, "d"); ok {
		var days uint64
		days, err = strconv.ParseUint(digits, 10, 16)
		d = time.Duration(days) * 24 * time.Hour
	}
	if err != nil || d < time.Minute || d > members.MaxExpiry {
		return 0, fmt.Errorf("allowed: a time such as 12h or 30d, from 1m to %dd", members.MaxExpiry/(24*time.Hour))
	}
	return uint32(d / time.Second), nil
}
