package config

import "log/slog"

// Log is [log].
type Log struct {
	level string
	// Format is "text", "journal" or "json".
	Format string
}

func (s *Log) section() section {
	return section{name: "log", doc: "The log, on standard error. One line ends each session and each message.", keys: []key{
		{name: "level", def: `"info"`, value: choice(&s.level, "debug", "info", "warn", "error"),
			doc: "The least important lines that are written. \"debug\" also shows the protocol dialogue, without passwords and bodies."},
		{name: "format", def: `"auto"`, value: choice(&s.Format, "auto", "text", "journal", "json"),
			doc: "\"text\": with time; \"journal\": for systemd's journal, with a field for each value, so that journalctl MAILSRVD_USER=alice or MAILSRVD_TRACE=ID finds lines; \"json\": one object a line; \"auto\": \"journal\" under systemd, else \"text\"."},
	}}
}

// Level is the level for slog.
func (s *Log) Level() slog.Level {
	var l slog.Level
	if l.UnmarshalText([]byte(s.level)) != nil {
		return slog.LevelInfo
	}
	return l
}
