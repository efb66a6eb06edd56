package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"mime"
	"net/http"
	"net/mail"
	"text/template"
)

// appleProfile is a configuration profile with one mail account, for iOS and
// macOS (https://developer.apple.com/documentation/devicemanagement/mail).
var appleProfile = template.Must(template.New("profile").Funcs(template.FuncMap{"x": escaped}).Parse(`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>PayloadType</key><string>Configuration</string>
	<key>PayloadVersion</key><integer>1</integer>
	<key>PayloadIdentifier</key><string>{{x .Hostname}}.mail.{{x .Address}}</string>
	<key>PayloadUUID</key><string>{{.UUID}}</string>
	<key>PayloadDisplayName</key><string>Mail of {{x .Address}}</string>
	<key>PayloadOrganization</key><string>{{x .Domain}}</string>
	<key>PayloadContent</key>
	<array>
		<dict>
			<key>PayloadType</key><string>com.apple.mail.managed</string>
			<key>PayloadVersion</key><integer>1</integer>
			<key>PayloadIdentifier</key><string>{{x .Hostname}}.mail.{{x .Address}}.account</string>
			<key>PayloadUUID</key><string>{{.AccountUUID}}</string>
			<key>PayloadDisplayName</key><string>{{x .Address}}</string>
			<key>EmailAccountType</key><string>EmailTypeIMAP</string>
			<key>EmailAccountDescription</key><string>{{x .Address}}</string>
			<key>EmailAddress</key><string>{{x .Address}}</string>
			<key>IncomingMailServerHostName</key><string>{{x .Hostname}}</string>
			<key>IncomingMailServerPortNumber</key><integer>{{.IMAP.Port}}</integer>
			<key>IncomingMailServerUseSSL</key><true/>
			<key>IncomingMailServerUsername</key><string>{{x .Address}}</string>
			<key>IncomingMailServerAuthentication</key><string>EmailAuthPassword</string>
			<key>OutgoingMailServerHostName</key><string>{{x .Hostname}}</string>
			<key>OutgoingMailServerPortNumber</key><integer>{{.SMTP.Port}}</integer>
			<key>OutgoingMailServerUseSSL</key><true/>
			<key>OutgoingMailServerUsername</key><string>{{x .Address}}</string>
			<key>OutgoingMailServerAuthentication</key><string>EmailAuthPassword</string>
			<key>OutgoingPasswordSameAsIncomingPassword</key><true/>
		</dict>
	</array>
</dict>
</plist>
`))

func escaped(s string) (string, error) {
	var b bytes.Buffer
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}

// apple serves the profile of the address in the query. It holds no password:
// the device asks for it.
func (s *Site) apple(w http.ResponseWriter, r *http.Request) {
	address := r.FormValue("email")
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address || s.domain(r, address) == "" {
		http.Error(w, "add ?email= with an address of ours", http.StatusNotFound)
		return
	}
	imap, ok1 := s.best("imap")
	smtp, ok2 := s.best("smtp")
	if !ok1 || !ok2 {
		http.Error(w, "this server has no IMAP or no submission", http.StatusNotFound)
		return
	}
	var b bytes.Buffer
	if err := appleProfile.Execute(&b, map[string]any{
		"Hostname": s.Hostname, "Domain": s.domain(r, address), "Address": address, "IMAP": imap, "SMTP": smtp,
		"UUID": uuid(s.Hostname, address, "profile"), "AccountUUID": uuid(s.Hostname, address, "account"),
	}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-apple-aspen-config")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": address + ".mobileconfig"}))
	w.Write(b.Bytes())
}

// uuid is the same at each call with the same parts, so that a profile that is
// installed again replaces the earlier one (RFC 9562 section 5.8).
func uuid(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
