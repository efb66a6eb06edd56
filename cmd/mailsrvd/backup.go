package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/backup"
	"svc.plus/mailsrvd/config"
)

func (a *app) backupCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "backup FILE | DIR",
		Short: "Write configuration, keys and queue of a running server into one file",
		Long: `backup writes a tar file, compressed if its name ends in .gz, with the
configuration, all files that it names (certificates, DKIM keys, aliases, the
passwd-file, the PAM file) and the state that cannot be made again: above all the
queue. In a DIR the file is named after the host and the time. It holds private
keys and mail, and is for its owner alone (mode 0600). The server may run; its
queue is taken as it was at one moment.

Maildirs are not in it: copy them with any tool, AFTER this command. A message
leaves the queue only when it is in a Maildir or at another host, so in this
order it may be in both copies, but never in none. Caches are not in it either;
they are made again.

Exit status: 0 written; 1 not.`,
		Example: "  mailsrvd backup /var/backups/\n  mailsrvd backup mail.tar.gz && rsync -aH /home/ backup:/home/",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			path := args[0]
			if fi, err := os.Stat(path); err == nil && fi.IsDir() {
				path = filepath.Join(path, fmt.Sprintf("mailsrvd-%s-%s.tar.gz", cfg.Hostname, time.Now().UTC().Format("20060102-150405")))
			}
			r, err := writeBackup(cmd.Context(), path, cfg)
			if err != nil {
				return err
			}
			return p.print(a, r, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "%s: %d files, %d queued messages\n", path, r.Files, r.Queued)
				for _, m := range r.Missing {
					fmt.Fprintf(w, "not there: %s\n", m)
				}
				fmt.Fprintln(w, "Now copy the users' Maildirs, in this order.")
			})
		},
	}
	p.flag(c)
	return c
}

// writeBackup makes the file whole or not at all.
func writeBackup(ctx context.Context, path string, cfg *config.Config) (r backup.Report, err error) {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return r, err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(path + ".tmp")
		}
	}()
	w := io.WriteCloser(f)
	if strings.HasSuffix(path, ".gz") {
		w = gzip.NewWriter(f)
	}
	if r, err = backup.Write(ctx, w, cfg, version); err != nil {
		return r, err
	}
	if w != io.WriteCloser(f) {
		if err := w.Close(); err != nil {
			return r, err
		}
	}
	if err := f.Sync(); err != nil {
		return r, err
	}
	if err := f.Close(); err != nil {
		return r, err
	}
	return r, os.Rename(path+".tmp", path)
}

func (a *app) restoreCommand() *cobra.Command {
	var p printer
	var root string
	var force bool
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put back what backup wrote",
		Long: `restore puts the files of a backup where they came from, with their modes, and
their owners by name, so install mailsrvd first. The server must be stopped.
Restore the Maildirs before or after, but before it starts.

Nothing is written when a file is there with another content; --force replaces
such files. What was in the queue is sent when the server starts, also what was
sent since the backup: look with mailsrvd queue list, and set [relay] hold = true
before the start if in doubt.

Exit status: 0 restored; 1 not.`,
		Example: "  mailsrvd restore mailsrvd-smtp.svc.plus-20260102-030405.tar.gz && mailsrvd check-config && systemctl start mailsrvd",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cfg, _, err := config.Read(a.configPath); err == nil && root == "/" {
				if _, err := admin.GetStatus(cmd.Context(), cfg.Socket("control")); err == nil {
					return errors.New("a server is running; stop it first: systemctl stop mailsrvd")
				}
			}
			f, err := openBackup(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			r, err := backup.Restore(cmd.Context(), f, root, force)
			var conflict *backup.Conflict
			if errors.As(err, &conflict) {
				return fmt.Errorf("%w; --force replaces them", err)
			} else if err != nil {
				return err
			}
			return p.print(a, r, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "%s of %s: %d files, %d queued messages\n", r.Hostname, r.Created.Format(time.DateTime), r.Files, r.Queued)
			})
		},
	}
	c.Flags().StringVar(&root, "root", "/", "put the files below this `directory`")
	c.Flags().BoolVar(&force, "force", false, "replace files that are there")
	p.flag(c)
	return c
}

// openBackup opens the archive for reading twice; a compressed one is unpacked
// into a file without a name first.
func openBackup(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil { // not compressed
		_, err := f.Seek(0, io.SeekStart)
		return f, err
	}
	defer f.Close()
	plain, err := os.CreateTemp(filepath.Dir(path), ".restore-")
	if err != nil {
		return nil, err
	}
	os.Remove(plain.Name())
	if _, err := io.Copy(plain, z); err != nil {
		plain.Close()
		return nil, fmt.Errorf("unpacking %s: %w", path, err)
	}
	_, err = plain.Seek(0, io.SeekStart)
	return plain, err
}
