package imapd

import (
	"strings"

	"svc.plus/mailsrvd/maildir"
)

// storeRequest is a STORE command (RFC 9051 section 6.4.6).
type storeRequest struct {
	op       maildir.FlagOp
	silent   bool
	flags    maildir.Flags
	keywords []string

	unchangedSince *maildir.ModSeq // nil for any
}

// storeFlags runs STORE and UID STORE.
func (s *session) storeFlags(c *call) error {
	s.dec.SP()
	set := s.dec.Set()
	s.dec.SP()
	req, flagsErr := s.parseStore()
	if err := s.dec.End(); err != nil {
		return err
	}
	if flagsErr != nil {
		return flagsErr
	}
	if err := s.mayWrite(); err != nil {
		return err
	}
	spans, err := s.view.resolve(set, c.uid)
	if err != nil || len(spans) == 0 {
		return err
	}
	stored, modified, err := s.view.box.StoreFlags(s.srv.ctx, s.view.uidsOf(spans), req.op, req.flags, req.keywords,
		maildir.StoreOptions{By: s.view.watcher, UnchangedSince: req.unchangedSince})
	s.view.touch(stored)
	s.stored(c, req, stored)
	c.ok(s.modified(c, modified), "")
	return err
}

// parseStore parses the item and the flags.
func (s *session) parseStore() (req storeRequest, err error) {
	s.parseUnchangedSince(&req)
	req.op = maildir.SetFlags
	switch {
	case s.dec.Accept('+'):
		req.op = maildir.AddFlags
	case s.dec.Accept('-'):
		req.op = maildir.RemoveFlags
	}
	name := s.dec.Word()
	name, req.silent = strings.CutSuffix(name, ".SILENT")
	if s.dec.Err() == nil && name != "FLAGS" {
		s.dec.Failf("Expected FLAGS")
	}
	s.dec.SP()
	names := s.dec.Flags()
	if s.dec.Err() != nil {
		return req, nil
	}
	req.flags, req.keywords, err = parseFlags(names)
	return req, err
}

// stored writes the flags that all messages have now, unless silence was asked
// for. Who knows of CONDSTORE gets the new MODSEQ in any case.
func (s *session) stored(c *call, req storeRequest, messages []maildir.Message) {
	s.tellKeywords()
	if req.silent && !s.enabled.condstore {
		return
	}
	for _, m := range messages {
		s.startFetch(s.view.seq(m.UID), m.UID)
		if c.uid || req.silent {
			s.enc.Raw("UID ").Number(uint64(m.UID))
		}
		if c.uid && !req.silent {
			s.enc.SP()
		}
		if !req.silent {
			s.enc.Raw("FLAGS ").Raw(s.flagsOf(m))
		}
		s.endFetch(m)
	}
}
