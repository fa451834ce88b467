package catchup

import (
	"slices"
	"time"

	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Waits for connections.
const (
	hedgeDial   = time.Second      // after which the next candidate is connected as well
	giveUpDial  = 10 * time.Second // after which a round goes on without a server
	connectWait = 3 * time.Second  // for which a round waits for a second server
)

// maxDesired is how many servers are connected at most.
const maxDesired = 4

// maxServers is how many are remembered besides those in use.
const maxServers = 256

// server is what is known of one now.
type server struct {
	id      nodeaddr.ID
	up      bool
	caps    history.Caps
	said    time.Time // when it said so
	anew    uint32    // from when on we know its archive, if that has begun anew; else 0
	desired bool      // Connect was said, and Disconnect was not
	dialed  time.Time // since when it is to be connected and is not
	stale   bool      // there was a reason to ask it since it was asked last
}

func (m *Machine) server(id nodeaddr.ID) *server {
	s := m.servers[id]
	if s == nil {
		s = &server{id: id, stale: true}
		m.servers[id] = s
	}
	return s
}

// lists reports whether the server can be compared.
func (s *server) lists() bool { return s.caps.Lists && s.arrivals() }

// arrivals reports whether it answers by arrival.
func (s *server) arrivals() bool {
	return len(s.caps.Forms) > 0 && s.caps.Forms[0] == history.ByArrival
}

func (m *Machine) note(s *server, ev directory.Event) { m.do(Note{Server: s.id, Event: ev}) }

func (m *Machine) candidates(list []directory.Choice) {
	m.choices = slices.Clone(list)
	for _, c := range list {
		m.server(c.Server)
	}
	m.tidy()
}

// tidy forgets servers that are nobody's any more, once they are many: who comes back is not asked again for that.
func (m *Machine) tidy() {
	if len(m.servers) <= maxServers {
		return
	}
	for id, s := range m.servers {
		if !s.up && !s.desired && !m.isCandidate(id) && (m.round == nil || m.round.lane(s) == nil) {
			delete(m.servers, id)
		}
	}
}

func (m *Machine) isCandidate(id nodeaddr.ID) bool {
	return slices.ContainsFunc(m.choices, func(c directory.Choice) bool { return c.Server == id })
}

func (m *Machine) up(id nodeaddr.ID, caps history.Caps) {
	s := m.server(id)
	s.up, s.caps, s.said, s.dialed = true, caps, m.now, time.Time{}
	m.seeEpoch(s)
	if m.online.IsZero() {
		m.online = m.now
	}
	m.note(s, directory.Connected{Caps: caps})
	if m.round == nil && s.stale && s.desired && (s.lists() || m.failures > 0) {
		m.soon(m.now)
	}
}

func (m *Machine) down(id nodeaddr.ID, err error) {
	s := m.servers[id]
	if s == nil {
		return
	}
	was := s.up
	s.up = false
	if s.desired {
		s.dialed = m.now
	}
	if was {
		m.note(s, directory.ConnectionLost{Err: err})
	} else {
		m.note(s, directory.ConnectFailed{Err: err})
	}
	if was && !m.anyUp() { // mail may pass by now that nobody sends us
		m.online = time.Time{}
		for _, s := range m.servers {
			s.stale = true
		}
	}
	if r := m.round; r != nil {
		if l := r.lane(s); l != nil && l.job != nil {
			m.lose(l.job, err)
		} else if !was {
			r.tried[id]++
			r.err = err
		}
	}
	m.tidy()
}

func (m *Machine) anyUp() bool {
	for _, s := range m.servers {
		if s.up {
			return true
		}
	}
	return false
}

// anyLists reports whether somebody is connected who can say what it has without sending it.
func (m *Machine) anyLists() bool {
	for _, s := range m.servers {
		if s.up && s.lists() {
			return true
		}
	}
	return false
}

// cameOnline asks everybody again, at once.
func (m *Machine) cameOnline() {
	m.online = m.now
	m.failures = 0
	m.ask()
	for _, c := range m.choices {
		if s := m.server(c.Server); s.desired && !s.up {
			s.dialed = m.now
			m.do(Connect{Server: s.id})
		}
	}
}

// ask plans a round now, at every server.
func (m *Machine) ask() {
	for _, s := range m.servers {
		s.stale = true
	}
	m.soon(m.now)
}

// connections sees to it that the best candidates are connected: as many as are of use, and more while some do not come.
func (m *Machine) connections() {
	var list []nodeaddr.ID
	if r := m.round; r != nil {
		if r.options.Server != nil {
			list = append(list, *r.options.Server)
		}
		for _, l := range r.lanes {
			list = append(list, l.server.id)
		}
	}
	useful, tries := 0, 0
	for _, c := range m.choices {
		if useful >= m.pair() || tries >= maxDesired {
			break
		}
		if m.round != nil && m.round.tried[c.Server] >= maxTries {
			continue
		}
		tries++
		s := m.server(c.Server)
		switch {
		case s.up && (s.lists() || useful == 0), !s.up && (s.dialed.IsZero() || m.now.Before(s.dialed.Add(hedgeDial))):
			useful++
		}
		list = append(list, c.Server)
	}
	for _, id := range list {
		if s := m.server(id); !s.desired {
			s.desired = true
			if !s.up {
				s.dialed = m.now
			}
			m.do(Connect{Server: id})
		}
	}
	if m.round == nil {
		m.disconnect(list)
	}
}

// disconnect lets go of who is not needed any more; a candidate only once those that are needed have come up.
func (m *Machine) disconnect(needed []nodeaddr.ID) {
	waiting := slices.ContainsFunc(needed, func(id nodeaddr.ID) bool { return !m.servers[id].up })
	for _, id := range m.serverIDs() {
		if s := m.servers[id]; s.desired && !slices.Contains(needed, id) && !(waiting && m.isCandidate(id)) {
			s.desired, s.dialed = false, time.Time{}
			m.do(Disconnect{Server: id})
		}
	}
	m.tidy()
}

// pair is how many servers are of use.
func (m *Machine) pair() int {
	if m.config.Alone {
		return 1
	}
	return 2
}

func (m *Machine) serverIDs() []nodeaddr.ID {
	list := make([]nodeaddr.ID, 0, len(m.servers))
	for id := range m.servers {
		list = append(list, id)
	}
	slices.SortFunc(list, compareIDs)
	return list
}

// gaveUp tells that a server could not be connected within the time that a round has for it.
func (m *Machine) gaveUp(s *server) {
	err := fault.Errorf("catchup", fault.Timeout, "the mail server %s could not be reached within %v", m.name(s.id), giveUpDial)
	m.note(s, directory.ConnectFailed{Err: err})
	m.round.tried[s.id] = maxTries
	m.round.err = err
}

// name is what to call a server.
func (m *Machine) name(id nodeaddr.ID) string {
	if m.config.Name != nil {
		return m.config.Name(id)
	}
	if s := m.servers[id]; s != nil && s.caps.Name != "" {
		return s.caps.Name
	}
	return id.Short()
}
