package smtpd

import (
	"net"

	"svc.plus/mailsrvd/internal/control"
)

// identify asks the kernel who is at the other end of the socket (Mode Local).
// A peer that has no account hears a refusal in place of its first command.
func (w *wire) identify() {
	account, err := w.peerAccount()
	if err != nil {
		w.log().Warn("local submission refused", "err", err)
		w.hangUp("421 4.7.0 This user may not submit mail here")
		return
	}
	w.account = account
}

func (w *wire) peerAccount() (string, error) {
	c, ok := w.track.Conn.(*net.UnixConn)
	if !ok {
		return "", net.UnknownNetworkError(w.conn.RemoteAddr().Network())
	}
	peer, err := control.PeerOf(c)
	if err != nil {
		return "", err
	}
	w.uid = peer.UID
	return w.server.o.LocalUser(peer.UID)
}
