package wire

import "io"

// Literal is a literal that has been announced and not been read yet.
type Literal struct {
	// Size is in bytes.
	Size int64
	// NonSync says that the client sends it without being asked (RFC 7888).
	NonSync bool
	// Binary says that it is a literal8, which may hold NUL (RFC 3516).
	Binary bool
}

// Literal insists on a literal at the current position and returns its
// announcement. Nothing has been asked for yet: OpenLiteral does so, and
// returning an error instead refuses it.
func (d *Decoder) Literal() Literal {
	if d.err != nil {
		return Literal{}
	}
	if !d.atLiteral() {
		d.Failf("Expected a literal, found %s", d.found())
		return Literal{}
	}
	return Literal{Size: d.lit.size, NonSync: d.lit.nonSync, Binary: d.lit.binary}
}

// AtLiteral reports whether a literal stands at the current position.
func (d *Decoder) AtLiteral() bool { return d.err == nil && d.atLiteral() }

func (d *Decoder) atLiteral() bool {
	return d.lit.announced && !d.lit.open && len(d.line) == d.lit.mark
}

// OpenLiteral asks for the literal that Literal has found and returns its
// bytes, exactly as many as announced, to be streamed. CloseLiteral must follow
// when the command is to be parsed on. Limits do not apply: the caller has
// judged its size.
func (d *Decoder) OpenLiteral() (io.Reader, error) {
	if d.err != nil {
		return nil, d.err
	}
	if !d.atLiteral() {
		panic("wire: OpenLiteral without a literal")
	}
	if !d.lit.nonSync {
		if err := d.hooks.Continue(); err != nil {
			d.Fail(err)
			return nil, err
		}
	}
	d.lit.open, d.lit.left, d.line = true, d.lit.size, nil
	return (*literalReader)(d), nil
}

// CloseLiteral drops what was not read of an opened literal and goes on with
// the line after it.
func (d *Decoder) CloseLiteral() error {
	if d.err != nil {
		return d.err
	}
	err := d.skip(d.lit.left)
	if err == nil {
		d.lit = literal{}
		err = d.readLine(false)
	}
	if err != nil {
		d.Fail(unexpected(err))
	}
	return d.err
}

// literalReader reads the opened literal of a Decoder.
type literalReader Decoder

func (l *literalReader) Read(p []byte) (int, error) {
	d := (*Decoder)(l)
	if d.err != nil {
		return 0, d.err
	}
	if d.lit.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > d.lit.left {
		p = p[:d.lit.left]
	}
	n, err := d.take(p)
	if d.lit.left -= int64(n); err != nil {
		d.Fail(unexpected(err))
		return n, d.err
	}
	return n, nil
}

// take reads into p what is buffered or, if nothing is, from the source; large
// reads bypass the buffer.
func (d *Decoder) take(p []byte) (int, error) {
	if d.r == d.w {
		if len(p) >= bufferSize {
			if err := d.hooks.BeforeRead(false); err != nil {
				return 0, err
			}
			return d.read(p)
		}
		if err := d.fill(false); err != nil {
			return 0, err
		}
	}
	n := copy(p, (*d.buf)[d.r:d.w])
	d.r += n
	return n, nil
}

// literalString reads the literal at the current position into memory, within
// the limits.
func (d *Decoder) literalString() string {
	size := d.lit.size
	switch {
	case size > d.limits.Literal || size > d.limits.Literals-d.literals:
		d.Fail(&SyntaxError{Text: "Literal too big", TooBig: true})
		return ""
	case d.lit.nonSync && size > d.limits.NonSync:
		d.Fail(&SyntaxError{Text: "Non-synchronizing literal too big", TooBig: true})
		return ""
	}
	d.literals += size
	r, err := d.OpenLiteral()
	if err != nil {
		return ""
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil && size > 0 {
		return ""
	}
	if d.CloseLiteral() != nil {
		return ""
	}
	return string(text)
}
