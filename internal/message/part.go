package message

import (
	"io"
	"iter"
	"strings"
)

// Part is a node of a message's MIME tree (RFC 2045, 2046). The root is the
// message itself; the children of a multipart are its body parts; a
// message/rfc822 or message/global part has exactly one child, the message
// inside. A Part is immutable after the scan and safe for concurrent use.
//
// Offsets are into the file as it is stored, whatever its line ends. "Virtual"
// sizes count every line end as CRLF, which is what IMAP sends.
type Part struct {
	// HeaderStart is where the header block begins, BodyStart where it ends
	// (behind the blank line, if there is one) and the body begins, End where
	// the body ends. A line break before a boundary belongs to the boundary
	// (RFC 2046 section 5.1.1) and lies behind End.
	HeaderStart, BodyStart, End int64
	// HeaderVSize and BodyVSize are the virtual sizes in bytes.
	HeaderVSize, BodyVSize int64
	// HeaderLines and BodyLines are the numbers of line ends.
	HeaderLines, BodyLines int64

	// Type and Subtype are the media type as written in Content-Type, in the
	// sender's letter case (compare with Is), or the default that RFC 2045
	// section 5.2 or RFC 2046 section 5.1.5 gives. Parts beyond the limits of
	// depth or number are application/octet-stream.
	Type, Subtype string
	// Params are the parameters of Content-Type, the first of each name.
	// Continuations (RFC 2231 section 3) are joined under their common name; an
	// extended value stays encoded and its name ends in "*".
	Params []Param
	// ID, Description, Encoding, MD5 and Location are the Content- fields of
	// these names, unfolded; empty when absent. Encoding is the
	// Content-Transfer-Encoding; empty means 7bit.
	ID, Description, Encoding, MD5, Location string
	// Disposition and DispositionParams are Content-Disposition (RFC 2183).
	Disposition       string
	DispositionParams []Param
	// Language lists the tags of Content-Language (RFC 3282).
	Language []string

	// Summary holds the fields of ENVELOPE; nil unless the part is a message:
	// the root, or the child of a message/rfc822 or message/global part.
	Summary *Summary
	// Children are the parts inside, in order.
	Children []*Part
}

// Param is a parameter of Content-Type or Content-Disposition.
type Param struct{ Name, Value string }

// Summary holds the header fields that ENVELOPE, SORT and THREAD need: values
// unfolded and without white space around them, encoded-words (RFC 2047) kept.
// Of a repeated Date, Subject and so on the first counts; repeated address
// fields are joined with a comma.
type Summary struct {
	Date, Subject, MessageID, InReplyTo, References string
	From, Sender, ReplyTo, To, Cc, Bcc              string

	present uint16 // bit per field, from fieldDate on: the message has it, maybe empty
	joined  uint8  // address fields joined to others
}

// Extent is a stretch of a stored message.
type Extent struct {
	// Start and End are offsets into the stored file.
	Start, End int64
	// VSize is the length in bytes with every line end as CRLF.
	VSize int64
}

// Header is the extent of the header block, with its blank line.
func (p *Part) Header() Extent { return Extent{p.HeaderStart, p.BodyStart, p.HeaderVSize} }

// Body is the extent of the body.
func (p *Part) Body() Extent { return Extent{p.BodyStart, p.End, p.BodyVSize} }

// Whole is the extent of header and body.
func (p *Part) Whole() Extent { return Extent{p.HeaderStart, p.End, p.VSize()} }

// Size is the length of header and body as stored, in bytes.
func (p *Part) Size() int64 { return p.End - p.HeaderStart }

// VSize is the length of header and body with CRLF line ends, in bytes: of the
// root it is IMAP's RFC822.SIZE.
func (p *Part) VSize() int64 { return p.HeaderVSize + p.BodyVSize }

// Is reports whether the media type is typ/subtype, whatever the letter case.
// An empty subtype stands for any.
func (p *Part) Is(typ, subtype string) bool {
	return strings.EqualFold(p.Type, typ) && (subtype == "" || strings.EqualFold(p.Subtype, subtype))
}

// IsMultipart reports whether the part is a multipart, with or without children.
func (p *Part) IsMultipart() bool { return p.Is("multipart", "") }

// IsMessage reports whether the part holds a message: message/rfc822 (RFC 2046
// section 5.2.1) or message/global (RFC 6532 section 3.7).
func (p *Part) IsMessage() bool {
	return len(p.Children) == 1 && isMessageType(p.Type, p.Subtype)
}

func isMessageType(typ, subtype string) bool {
	return strings.EqualFold(typ, "message") &&
		(strings.EqualFold(subtype, "rfc822") || strings.EqualFold(subtype, "global"))
}

// Param returns the value of the Content-Type parameter name, in any letter
// case; an extended value (name*, RFC 2231 section 4) is decoded to UTF-8.
func (p *Part) Param(name string) string { return findParam(p.Params, name) }

// Filename returns the decoded name of an attachment: the filename parameter
// of Content-Disposition, or else the name parameter of Content-Type; empty if
// there is neither.
func (p *Part) Filename() string {
	if name := findParam(p.DispositionParams, "filename"); name != "" {
		return DecodeText(name)
	}
	return DecodeText(findParam(p.Params, "name"))
}

// Find returns the part that the IMAP section number path names (RFC 9051
// section 6.4.5.1), or nil. p must be the root. An empty path is p itself. In
// a message that is no multipart, part 1 is the message's own body. A number
// below a message/rfc822 part counts inside the message it holds.
//
// For the part found, "path" alone is its Body, "path.MIME" its Header; if it
// is a message/rfc822, "path.HEADER" and "path.TEXT" are the Header and Body of
// its Message.
func (p *Part) Find(path []int) *Part {
	message := p // the message that the next number counts in
	for _, n := range path {
		switch {
		case message == nil || n < 1:
			return nil
		case message.IsMultipart():
			if n > len(message.Children) {
				return nil
			}
			p = message.Children[n-1]
		case n != 1:
			return nil
		default:
			p = message
		}
		message = p.numbered()
	}
	return p
}

// numbered returns the node below which the parts of p are numbered: p itself
// for a multipart, the inner message of a message/rfc822, otherwise nil.
func (p *Part) numbered() *Part {
	if p.IsMultipart() {
		return p
	}
	return p.Message()
}

// Message returns the message inside a message/rfc822 or message/global part,
// or nil.
func (p *Part) Message() *Part {
	if !p.IsMessage() {
		return nil
	}
	return p.Children[0]
}

// All yields p and every part below it, depth first, in the order of the file.
func (p *Part) All() iter.Seq[*Part] {
	return func(yield func(*Part) bool) { p.walk(yield) }
}

func (p *Part) walk(yield func(*Part) bool) bool {
	if !yield(p) {
		return false
	}
	for _, c := range p.Children {
		if !c.walk(yield) {
			return false
		}
	}
	return true
}

// Scan reads r to its end and returns the root of the message. It fails only
// with an error of r.
func Scan(r io.Reader) (*Part, error) {
	s := NewScanner()
	buf := blocks.Get().(*block)
	defer blocks.Put(buf)
	for {
		n, err := r.Read(buf[:])
		s.Write(buf[:n])
		if err == io.EOF {
			return s.Finish(), nil
		}
		if err != nil {
			return nil, err
		}
	}
}
