package node

import (
	"time"

	"github.com/restante-im/restante/internal/members"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
)

// desk is the list of members as the command interface sees it.
type desk struct{ n *Node }

// memberDesk is nil unless only members are served.
func (n *Node) memberDesk() rpc.Members {
	if n.mail == nil || !n.opt.Mail.MembersOnly {
		return nil
	}
	return desk{n}
}

func (d desk) Invite(req rpc.NewInvitation) (rpc.Invitation, error) {
	quota := req.BytesPerDay
	if quota == rpc.NoQuota {
		quota = members.Unlimited
	}
	m, token, err := d.n.mail.members.Invite(req.Name, members.InviteOptions{
		BytesPerDay: quota, MaxDevices: req.Devices, Expires: time.Duration(req.Expires) * time.Second, Again: req.Again,
	})
	if err != nil {
		return rpc.Invitation{}, err
	}
	link := members.Link{Server: d.n.network.Self().Node, Token: token, Name: d.n.opt.Mail.Name}
	return rpc.Invitation{Member: memberOf(m), Link: link.String()}, nil
}

func (d desk) List() (list []rpc.Member) {
	for _, m := range d.n.mail.members.List() {
		list = append(list, memberOf(m))
	}
	return list
}

func (d desk) Add(who string, device nodeaddr.ID) (rpc.Addition, error) {
	m, made, err := d.n.mail.members.AddDevice(who, device)
	return rpc.Addition{Member: memberOf(m), Made: made}, err
}

func (d desk) Revoke(who string) (rpc.Member, error) {
	m, err := d.n.mail.members.Revoke(who)
	return memberOf(m), err
}

func (d desk) Remove(who string) (rpc.Member, error) {
	m, err := d.n.mail.members.Remove(who)
	return memberOf(m), err
}

func (d desk) RemoveDevice(device nodeaddr.ID) (rpc.Member, error) {
	m, err := d.n.mail.members.RemoveDevice(device)
	return memberOf(m), err
}

func memberOf(m members.Member) rpc.Member {
	out := rpc.Member{
		ID: m.ID, Name: m.Name, Devices: []rpc.MemberDevice{}, MaxDevices: m.MaxDevices, BytesPerDay: m.BytesPerDay,
		UsedToday: m.UsedToday, Created: m.Created, Revoked: m.Revoked, Invited: m.Invited,
	}
	for _, d := range m.Devices {
		out.Devices = append(out.Devices, rpc.MemberDevice{ID: d.Node.String(), Added: d.Added})
	}
	return out
}
