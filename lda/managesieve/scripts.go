package managesieve

import (
	"strconv"
	"strings"

	"svc.plus/mailsrvd/lda/sieve"
)

// checked is the reply to a script that has been compiled: OK, with the warnings if
// there are any (RFC 5804 section 1.3, WARNINGS), or why not.
func (s *session) checked(warnings sieve.Problems, err error, done string) reply {
	switch {
	case err != nil:
		return s.refuse(err)
	case len(warnings) > 0:
		return ok("WARNINGS", told(warnings))
	}
	return ok("", done)
}

// told is a line for each mistake, as RFC 5804 section 2.6 wants them.
func told(list sieve.Problems) string {
	return strings.ReplaceAll(list.Error(), "\n", "\r\n")
}

// haveSpace runs HAVESPACE (RFC 5804 section 2.5).
func (s *session) haveSpace(args []word) reply {
	size, err := strconv.ParseInt(string(args[1].text), 10, 64)
	if most := s.srv.language().Limits.ScriptSize; err != nil || size > int64(most) {
		return no("QUOTA/MAXSIZE", "A script may have "+strconv.Itoa(most)+" bytes")
	}
	if err := s.scripts.room(s.srv.ctx, string(args[0].text)); err != nil {
		return s.refuse(err)
	}
	return ok("", "There is room.")
}

// putScript runs PUTSCRIPT (RFC 5804 section 2.6). A script may include one that is
// yet to be uploaded, as Pigeonhole has it.
func (s *session) putScript(args []word) reply {
	name, source := string(args[0].text), args[1].text
	warnings, err := s.scripts.put(s.srv.ctx, name, source, s.srv.language())
	if err == nil {
		s.logger().Info("sieve script stored", "script", name, "size", len(source))
	}
	return s.checked(warnings, err, "PUTSCRIPT completed.")
}

// checkScript runs CHECKSCRIPT (RFC 5804 section 2.12).
func (s *session) checkScript(args []word) reply {
	warnings, err := s.scripts.check(s.srv.ctx, args[0].text, s.srv.language())
	return s.checked(warnings, err, "Script checked successfully.")
}

// listScripts runs LISTSCRIPTS (RFC 5804 section 2.7).
func (s *session) listScripts([]word) reply {
	names, active, err := s.scripts.list(s.srv.ctx)
	if err != nil {
		return s.refuse(err)
	}
	for _, name := range names {
		s.out.WriteString(quote(name))
		if name == active {
			s.out.WriteString(" ACTIVE")
		}
		s.out.WriteString("\r\n")
	}
	return ok("", "Listscripts completed.")
}

// setActive runs SETACTIVE (RFC 5804 section 2.8); an empty name means none.
func (s *session) setActive(args []word) reply {
	name := string(args[0].text)
	if name == "" {
		if err := s.scripts.deactivate(s.srv.ctx); err != nil {
			return s.refuse(err)
		}
		s.logger().Info("sieve script deactivated")
		return ok("", "No script is active now.")
	}
	warnings, err := s.scripts.activate(s.srv.ctx, name, s.srv.language())
	if err == nil {
		s.logger().Info("sieve script activated", "script", name)
	}
	return s.checked(warnings, err, "Setactive completed.")
}

// getScript runs GETSCRIPT (RFC 5804 section 2.9).
func (s *session) getScript(args []word) reply {
	source, err := s.scripts.get(s.srv.ctx, string(args[0].text))
	if err != nil {
		return s.refuse(err)
	}
	s.out.WriteString("{" + strconv.Itoa(len(source)) + "}\r\n")
	s.out.Write(source)
	s.out.WriteString("\r\n")
	return ok("", "Getscript completed.")
}

// deleteScript runs DELETESCRIPT (RFC 5804 section 2.10).
func (s *session) deleteScript(args []word) reply {
	name := string(args[0].text)
	if err := s.scripts.remove(s.srv.ctx, name); err != nil {
		return s.refuse(err)
	}
	s.logger().Info("sieve script deleted", "script", name)
	return ok("", "Deletescript completed.")
}

// renameScript runs RENAMESCRIPT (RFC 5804 section 2.11).
func (s *session) renameScript(args []word) reply {
	from, to := string(args[0].text), string(args[1].text)
	if err := s.scripts.rename(s.srv.ctx, from, to); err != nil {
		return s.refuse(err)
	}
	s.logger().Info("sieve script renamed", "script", from, "to", to)
	return ok("", "Renamescript completed.")
}
