package web

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"strings"
)

// clientConfig is what Thunderbird, K-9, Evolution and others understand
// (https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat).
type clientConfig struct {
	XMLName  xml.Name `xml:"clientConfig"`
	Version  string   `xml:"version,attr"`
	Provider struct {
		ID        string             `xml:"id,attr"`
		Domain    string             `xml:"domain"`
		Name      string             `xml:"displayName"`
		ShortName string             `xml:"displayShortName"`
		Incoming  []autoconfigServer `xml:"incomingServer"`
		Outgoing  []autoconfigServer `xml:"outgoingServer"`
	} `xml:"emailProvider"`
}

type autoconfigServer struct {
	Type           string `xml:"type,attr"`
	Hostname       string `xml:"hostname"`
	Port           int    `xml:"port"`
	SocketType     string `xml:"socketType"`
	Authentication string `xml:"authentication"`
	Username       string `xml:"username"`
}

func (s *Site) autoconfig(w http.ResponseWriter, r *http.Request) {
	domain := s.domain(r, r.FormValue("emailaddress"))
	if domain == "" {
		http.NotFound(w, r)
		return
	}
	c := clientConfig{Version: "1.1"}
	p := &c.Provider
	p.ID, p.Domain, p.Name, p.ShortName = domain, domain, domain, domain
	for _, v := range s.services() {
		server := autoconfigServer{v.Type, s.Hostname, v.Port, "STARTTLS", "password-cleartext", "%EMAILADDRESS%"}
		if v.TLS {
			server.SocketType = "SSL"
		}
		if v.Type == "imap" {
			p.Incoming = append(p.Incoming, server)
		} else {
			p.Outgoing = append(p.Outgoing, server)
		}
	}
	writeXML(w, c)
}

func writeXML(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	io.WriteString(w, xml.Header)
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	e.Encode(v)
	io.WriteString(w, "\n")
}

// autodiscoverRequest is what Outlook posts ([MS-OXDSCLI] section 2.2.3).
type autodiscoverRequest struct {
	Request struct {
		Address string `xml:"EMailAddress"`
	}
}

// outlookSchema is the name space of the answer for programs that speak IMAP
// and SMTP ([MS-OXDSCLI] section 2.2.4).
const outlookSchema = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"

type autodiscoverAnswer struct {
	XMLName  xml.Name `xml:"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006 Autodiscover"`
	Response struct {
		Schema  string `xml:"xmlns,attr"`
		Account struct {
			AccountType string
			Action      string
			Protocol    []autodiscoverProtocol
		}
	}
}

type autodiscoverProtocol struct {
	Type         string
	Server       string
	Port         int
	LoginName    string
	DomainName   string
	SPA          string
	SSL          string
	Encryption   string `xml:",omitempty"`
	AuthRequired string
}

// maxAutodiscover bounds a request, in bytes.
const maxAutodiscover = 64 << 10

func (s *Site) autodiscover(w http.ResponseWriter, r *http.Request) {
	var q autodiscoverRequest
	if err := xml.NewDecoder(http.MaxBytesReader(w, r.Body, maxAutodiscover)).Decode(&q); err != nil {
		http.Error(w, "this is no Autodiscover request", http.StatusBadRequest)
		return
	}
	address := strings.TrimSpace(q.Request.Address)
	if !strings.Contains(address, "@") || s.domain(r, address) == "" {
		http.Error(w, "no address of ours is asked about", http.StatusNotFound)
		return
	}
	var a autodiscoverAnswer
	a.Response.Schema = outlookSchema
	a.Response.Account.AccountType, a.Response.Account.Action = "email", "settings"
	for _, typ := range []string{"imap", "smtp"} {
		v, ok := s.best(typ)
		if !ok {
			continue
		}
		p := autodiscoverProtocol{Type: strings.ToUpper(typ), Server: s.Hostname, Port: v.Port, LoginName: address,
			DomainName: "", SPA: "off", SSL: "on", AuthRequired: "on"}
		if !v.TLS {
			p.Encryption = "TLS" // STARTTLS, in the words of Outlook
		}
		a.Response.Account.Protocol = append(a.Response.Account.Protocol, p)
	}
	writeXML(w, a)
}

// autodiscoverJSON sends programs that ask by the newer way to the older one.
func (s *Site) autodiscoverJSON(w http.ResponseWriter, r *http.Request) {
	domain := s.domain(r, r.FormValue("Email"))
	if domain == "" || !strings.EqualFold(r.FormValue("Protocol"), "AutodiscoverV1") {
		http.Error(w, "only AutodiscoverV1 is served", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{
		"Protocol": "AutodiscoverV1", "Url": "https://" + r.Host + "/autodiscover/autodiscover.xml",
	})
}
