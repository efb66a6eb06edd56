package message

import "bytes"

// headerLine takes a line of the header block that ends with eol bytes of line
// break (0 at the end of the message); a very long line is not all there.
func (s *Scanner) headerLine(line []byte, eol int64) {
	if blank(line) {
		s.endHeader(s.at, true)
		s.nextLine(eol)
		return
	}
	if len(s.delims) > 0 {
		if i, closing := s.findDelimiter(line); i >= 0 {
			s.headerDelimiter(i, closing, eol > 0)
			return
		}
	}
	if line[0] == ' ' || line[0] == '\t' {
		s.keepField(line)
	} else {
		s.endField()
		s.beginField(line)
	}
	s.nextLine(eol)
}

// headerDelimiter meets a boundary inside a header block: the block ends
// without a blank line, and its part has no body.
func (s *Scanner) headerDelimiter(i int, closing, whole bool) {
	end := s.start.back(s.eol)
	for s.state == inHeader { // more than once: a message/rfc822 without its message
		s.endHeader(end, false)
	}
	s.endParts(i, end, closing)
	if whole {
		s.afterDelimiter()
	}
}

// blank reports whether the line is empty: the end of the header block.
func blank(line []byte) bool {
	return line[0] == '\n' || len(line) == 2 && line[0] == '\r' && line[1] == '\n'
}

// beginField starts a field at its first line, and keeps it if it is wanted.
func (s *Scanner) beginField(line []byte) {
	s.wanted = noField
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return // no header field; ignored, as everyone does
	}
	id := lookupField(bytes.TrimRight(line[:colon], " \t"))
	if id == noField || id.inSummary() && s.top().part.Summary == nil {
		return
	}
	s.wanted = id
	s.field = s.field[:0]
	s.keepField(line[colon+1:])
}

// keepField adds a line of the current field, as far as the limits allow.
func (s *Scanner) keepField(line []byte) {
	if s.wanted == noField {
		return
	}
	n := min(len(line), maxField-len(s.field), maxHeaders-s.kept)
	if n <= 0 {
		return
	}
	s.field = append(s.field, line[:n]...)
	s.kept += n
}

// endField stores the current field in its part.
func (s *Scanner) endField() {
	id, o := s.wanted, s.top()
	s.wanted = noField
	switch {
	case id == noField:
	case id == fieldMIMEVersion:
		o.mime = true
	case id == fieldContentType:
		if !o.typed {
			o.mime, o.typed = true, true
			s.boundary = o.part.setContentType(unfoldBytes(s.field))
		}
	case id.inSummary():
		o.part.Summary.set(id, unfoldBytes(s.field))
	default:
		o.part.setContentField(id, unfoldBytes(s.field))
	}
}

func (s *Scanner) top() *openPart { return &s.open[len(s.open)-1] }

// endHeader ends the header block of the innermost part at the mark end.
// blank says that a blank line ends it, so that a body may follow.
func (s *Scanner) endHeader(end mark, blank bool) {
	s.endField()
	o := s.top()
	p := o.part
	o.endHeader(end)
	if !o.mime {
		p.forgetContent()
	}
	if p.Type == "" {
		p.Type, p.Subtype = "text", "plain"
		if n := len(s.open); !o.typed && n > 1 && s.open[n-2].digest {
			p.Type, p.Subtype = "message", "rfc822"
		}
	}
	s.state = inBody
	s.openBody(o, blank)
}

// openBody prepares for the body of o, whose header is complete.
func (s *Scanner) openBody(o *openPart, blank bool) {
	p := o.part
	message, multipart := isMessageType(p.Type, p.Subtype), p.IsMultipart()
	full := len(s.open) >= MaxDepth || message && s.parts >= MaxParts
	switch {
	case !message && !multipart:
	case full:
		p.Type, p.Subtype = "application", "octet-stream"
	case message:
		s.push(&Part{Summary: new(Summary)}, o.body, false)
	case blank && len(s.boundary) > 0:
		o.digest = p.Is("multipart", "digest")
		s.delims = append(s.delims, delimiter{s.boundary, len(s.open) - 1})
	}
	if s.state == inBody {
		s.boundary = nil
	}
}
