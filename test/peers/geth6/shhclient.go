package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/whisper/shhclient"
	"github.com/ethereum/go-ethereum/whisper/whisperv6"
)

// callTimeout bounds each call of the client.
const callTimeout = 20 * time.Second

// runClient drives go-ethereum's own client, one JSON request per line on standard input:
//
//	{"id":1,"cmd":"open","args":["ws://…"]}              dial; a path is a local socket
//	{"id":2,"cmd":"surface","args":[]}                   the names of its methods
//	{"id":3,"cmd":"NewSymmetricKey","args":[]}           a method; byte strings are base64
//	{"id":4,"cmd":"on","args":["name",{criteria}]}       SubscribeMessages; what comes is {"subscription":"name","data":…}
//	{"id":5,"cmd":"off","args":["name"]}                 Unsubscribe
//
// Answers are {"id":…,"result":…} or {"id":…,"error":text}.
func runClient([]string) error {
	p := &program{subscriptions: map[string]ethereum.Subscription{}, out: json.NewEncoder(os.Stdout)}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<16), 32<<20)
	for lines.Scan() {
		var r clientRequest
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return err
		}
		result, err := p.do(r)
		if err != nil {
			p.print(clientAnswer{ID: r.ID, Error: err.Error()})
			continue
		}
		p.print(clientAnswer{ID: r.ID, Result: result})
	}
	return lines.Err()
}

type clientRequest struct {
	ID   uint64            `json:"id"`
	Cmd  string            `json:"cmd"`
	Args []json.RawMessage `json:"args"`
}

type clientAnswer struct {
	ID     uint64      `json:"id"`
	Result interface{} `json:"result"`
	Error  string      `json:"error,omitempty"`
}

type clientEvent struct {
	Subscription string             `json:"subscription"`
	Data         *whisperv6.Message `json:"data,omitempty"`
	Error        string             `json:"error,omitempty"`
}

// program is a client at work.
type program struct {
	client        *shhclient.Client
	subscriptions map[string]ethereum.Subscription

	mu  sync.Mutex
	out *json.Encoder
}

func (p *program) print(v interface{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(v)
}

func (p *program) do(r clientRequest) (result interface{}, err error) {
	switch r.Cmd {
	case "open":
		var url string
		if err := json.Unmarshal(r.Args[0], &url); err != nil {
			return nil, err
		}
		p.client, err = shhclient.Dial(url)
		return nil, err
	case "surface":
		var names []string
		for t, i := reflect.TypeOf(p.client), 0; i < t.NumMethod(); i++ {
			names = append(names, t.Method(i).Name)
		}
		return names, nil
	case "on":
		return nil, p.subscribe(r.Args)
	case "off":
		var name string
		if err := json.Unmarshal(r.Args[0], &name); err != nil {
			return nil, err
		}
		p.subscriptions[name].Unsubscribe()
		delete(p.subscriptions, name)
		return nil, nil
	}
	return p.call(r)
}

// call calls a method of the client by its name.
func (p *program) call(r clientRequest) (interface{}, error) {
	m := reflect.ValueOf(p.client).MethodByName(r.Cmd)
	if !m.IsValid() || m.Type().NumIn() != len(r.Args)+1 {
		return nil, fmt.Errorf("there is no method %s with %d arguments", r.Cmd, len(r.Args))
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	in := []reflect.Value{reflect.ValueOf(ctx)}
	for i, raw := range r.Args {
		v := reflect.New(m.Type().In(i + 1))
		if err := json.Unmarshal(raw, v.Interface()); err != nil {
			return nil, err
		}
		in = append(in, v.Elem())
	}
	out := m.Call(in)
	err, _ := out[len(out)-1].Interface().(error)
	if len(out) == 1 {
		return nil, err
	}
	return out[0].Interface(), err
}

func (p *program) subscribe(args []json.RawMessage) error {
	var name string
	var criteria whisperv6.Criteria
	if err := json.Unmarshal(args[0], &name); err != nil {
		return err
	}
	if err := json.Unmarshal(args[1], &criteria); err != nil {
		return err
	}
	messages := make(chan *whisperv6.Message)
	sub, err := p.client.SubscribeMessages(context.Background(), criteria, messages)
	if err != nil {
		return err
	}
	p.subscriptions[name] = sub
	go func() {
		for {
			select {
			case m := <-messages:
				p.print(clientEvent{Subscription: name, Data: m})
			case err := <-sub.Err():
				if err != nil {
					p.print(clientEvent{Subscription: name, Error: err.Error()})
				}
				return
			}
		}
	}()
	return nil
}
