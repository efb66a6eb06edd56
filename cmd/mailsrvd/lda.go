package main

import (
	"context"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/sendmail"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/lda"
	"svc.plus/mailsrvd/maildir"
)

func (a *app) ldaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lda [-d user] [-f sender] [-a orig-rcpt] [-r final-rcpt] [-m mailbox] [-p path] [-e] [-k] [-o k=v] [-c file]",
		Short: "Deliver a message from standard input into a Maildir, as dovecot-lda does",
		Long: `lda reads a message and delivers it to one local user; 0 means that it is on
disk. It takes dovecot-lda's place with the same options and exit codes, and may
be called dovecot-lda or deliver through a link. The user himself and root
deliver directly; members of the group mail hand the message to the daemon. What
the user's filters send on leaves through the daemon; if it is not running, nothing
is delivered, and the status is 75.

  -d user       the recipient; the calling user if missing
  -f sender     the reverse-path
  -a, -r addr   the original and the final recipient address
  -m mailbox    deliver into this folder
  -p path       read the message from this file
  -e            say why a message is refused on standard error, with status 77
  -k            keep the environment (nothing to do here)
  -o key=value  set a setting: lda_mailbox_autocreate, lda_mailbox_autosubscribe,
                quota_full_tempfail; others are taken and ignored
  -c file       the configuration file

Exit status: 0 delivered; 64 wrong arguments; 67 no such user; 75 try again; 77
refused.`,
		Example:            "  mailsrvd lda -d alice -f sender@example.net <message",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			unix.Umask(0o007)
			code := lda.Run(cmd.Context(), args, a.stdin, a.stdout, a.stderr, a.ldaEnv())
			if code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
}

func (a *app) ldaEnv() lda.Env {
	return lda.Env{UID: os.Geteuid(), GID: os.Getegid(), Getenv: os.Getenv, Self: selfOwner, Configure: a.ldaConfigure}
}

// selfOwner is the calling user.
func selfOwner() (asuser.Owner, error) {
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return asuser.Owner{}, err
	}
	return asuser.Self(u.Username, u.HomeDir), nil
}

// ldaConfigure reads the configuration for one delivery.
func (a *app) ldaConfigure(_ context.Context, path string, ignore bool) (lda.CommandOptions, error) {
	c, err := a.ldaConfig(path, ignore)
	if err != nil {
		return lda.CommandOptions{}, err
	}
	o := daemon.LDAOptions(c)
	log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	o.Accounts, o.Logger = &lateAccounts{cfg: c}, log
	o.Stores = maildir.NewStores(maildir.Options{Separator: c.IMAP.Separator[0], Hostname: c.Hostname, Limits: ldaLimits(c), Logger: log, NoInotify: true})
	return lda.CommandOptions{
		Agent: o, Socket: c.Socket("lda"), WayOut: c.Socket("redirect"), Respond: respondThrough(c),
		Settings: lda.Settings{Autocreate: c.LDA.Autocreate, Autosubscribe: c.LDA.Autosubscribe, FullTempfail: c.LDA.FullTempfail},
	}, nil
}

// respondThrough submits the answers of a user's filters as the user's own mail: the
// daemon looks at the author, counts and signs them.
func respondThrough(c *config.Config) func(context.Context, string, message.Envelope, *message.Content) error {
	return func(ctx context.Context, account string, env message.Envelope, m *message.Content) error {
		s := sendmail.Sender{Socket: c.Socket("sendmail"), User: account, Domain: c.Domain(), Stdin: m.NewReader()}
		o := sendmail.Options{SenderSet: true, Sender: env.ReversePath, DotIsText: true}
		for _, r := range env.Recipients {
			o.Recipients, o.Notify = append(o.Recipients, r.Address), r.Notify
		}
		return s.Submit(ctx, o)
	}
}

// ldaLimits is the quota for a delivery without the daemon. With a passwd-file,
// which has quotas of its own and may not be the user's to read, only the daemon
// knows them: the message is stored, and counts from then on.
func ldaLimits(c *config.Config) maildir.QuotaLimits {
	return func(asuser.Owner, string) maildir.Limits {
		if c.Auth.Backend == "passwd-file" {
			return maildir.Limits{}
		}
		return maildir.Limits{Storage: c.Quota.Storage, Messages: int64(c.Quota.Messages)}
	}
}

// ldaConfig is the configuration, or with ignore one of defaults alone.
func (a *app) ldaConfig(path string, ignore bool) (*config.Config, error) {
	if ignore {
		host, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		c, _ := config.Parse(defaultConfig, "")
		c.Hostname, c.Domains = host, []string{host}
		return c, nil
	}
	if path != "" {
		a.configPath = path
	}
	return a.config()
}

// lateAccounts opens the back end when it is first asked: a caller who only
// hands a message to the daemon may not be allowed to read it.
type lateAccounts struct {
	cfg  *config.Config
	once sync.Once
	auth *auth.Authenticator
	err  error
}

// Lookup implements lda.Accounts.
func (l *lateAccounts) Lookup(ctx context.Context, name string) (auth.Account, error) {
	l.once.Do(func() { l.auth, l.err = daemon.LocalAuthenticator(l.cfg) })
	if l.err != nil {
		return auth.Account{}, l.err
	}
	return l.auth.Lookup(ctx, name)
}
