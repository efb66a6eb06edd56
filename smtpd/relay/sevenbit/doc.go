// Package sevenbit turns a message with 8-bit bytes into one that a host
// without 8BITMIME takes (RFC 6152 section 3): the same MIME parts, those with
// 8-bit bytes encoded as RFC 2045 section 6 has it.
//
//   - A text becomes quoted-printable, all else base64, also a text that is
//     called binary. What was encoded already, but badly, is decoded first.
//   - Multiparts and message/rfc822 parts may not be encoded as a whole (RFC 2045
//     section 6.4): they are walked, and a label "8bit" or "binary" becomes
//     "7bit", as that of any part without 8-bit bytes does.
//   - A message without MIME-Version gets one. A text without a Content-Type gets
//     the charset unknown-8bit (RFC 1428 section 3), which says what is known of
//     it.
//   - Around body parts, where nothing is to be read (RFC 2046 section 5.1.1),
//     8-bit bytes become asterisks.
//   - 8-bit bytes in header fields stay, those of body parts included. No standard
//     allows them, none says how to encode them in every field, and servers
//     without 8BITMIME pass them on; Postfix sends them, too.
//
// All else goes byte for byte. A message is read three times and never held in
// memory. The structure is that of message.Scan, with its limits; what cannot be
// converted under them is ErrStructure, and no byte has been written then.
//
// A signature over the body is broken by any conversion, be it DKIM's or that of
// multipart/signed (RFC 1847 asks signers to encode beforehand).
package sevenbit
