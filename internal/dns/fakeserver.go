package dns

import (
	"context"
	"fmt"
	"net"

	mdns "github.com/miekg/dns"
)

// Listen serves the zone on addr by UDP and by TCP until ctx ends, and returns
// the address in use (a port of 0 picks one that is free for both). Answers
// longer than the asker takes are truncated, so that TCP is tried too.
func (f *Fake) Listen(ctx context.Context, addr string) (string, error) {
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("listening for DNS by TCP: %w", err)
	}
	udp, err := lc.ListenPacket(ctx, "udp", tcp.Addr().String())
	if err != nil {
		tcp.Close()
		return "", fmt.Errorf("listening for DNS by UDP: %w", err)
	}
	handler := mdns.HandlerFunc(f.serve)
	servers := []*mdns.Server{{Listener: tcp, Handler: handler}, {PacketConn: udp, Handler: handler}}
	for _, s := range servers {
		go s.ActivateAndServe()
	}
	context.AfterFunc(ctx, func() {
		tcp.Close()
		udp.Close()
	})
	return tcp.Addr().String(), nil
}

func (f *Fake) serve(w mdns.ResponseWriter, req *mdns.Msg) {
	m := f.answer(req)
	if m == nil {
		return
	}
	if _, overUDP := w.RemoteAddr().(*net.UDPAddr); overUDP {
		size := mdns.MinMsgSize
		if opt := req.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
			m.SetEdns0(udpSize, false)
		}
		m.Truncate(size)
	}
	w.WriteMsg(m)
}
