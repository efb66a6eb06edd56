package admin

import (
	"context"
	"time"

	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/smtpd/queue"
)

// Status is what the daemon says about itself.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// Config is the configuration file, Reloaded when it was last taken over.
	Config   string    `json:"config"`
	Reloaded time.Time `json:"reloaded,omitzero"`
	// Problem is what keeps the daemon from its work; empty if nothing does.
	Problem      string        `json:"problem,omitempty"`
	Listeners    []Listener    `json:"listeners"`
	Queue        queue.Stats   `json:"queue"`
	Certificates []Certificate `json:"certificates"`
	DKIM         []SigningKey  `json:"dkim"`
}

// SigningKey is a DKIM key, in one of the states of dkim.KeyState.
type SigningKey struct {
	Domain    string    `json:"domain"`
	Selector  string    `json:"selector"`
	Algorithm string    `json:"algorithm"`
	State     string    `json:"state"`
	Since     time.Time `json:"since,omitzero"`
	Until     time.Time `json:"until,omitzero"`
	// Advice says what is to be done, "" for nothing.
	Advice string `json:"advice,omitempty"`
}

// Listener is one open socket.
type Listener struct {
	// Name is the key of [listen].
	Name    string `json:"name"`
	Address string `json:"address"`
	// Connections are those open now.
	Connections int `json:"connections"`
}

// Certificate is one that is being offered.
type Certificate struct {
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after"`
}

// StatusHandlers answer status and reload.
func StatusHandlers(status func() Status, reload func(context.Context) error) map[string]control.Handler {
	return map[string]control.Handler{
		"status": func(context.Context, *control.Call) (any, error) { return status(), nil },
		"reload": func(ctx context.Context, _ *control.Call) (any, error) { return nil, reload(ctx) },
	}
}

// GetStatus asks the daemon on the control socket.
func GetStatus(ctx context.Context, socket string) (Status, error) {
	var s Status
	err := control.Do(ctx, socket, control.Request{Name: "status"}, &s)
	return s, err
}

// Reload makes the daemon read its configuration again, and returns why it did
// not take it over.
func Reload(ctx context.Context, socket string) error {
	return control.Do(ctx, socket, control.Request{Name: "reload"}, nil)
}
