package zone

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ttl is how long the records may be kept by others, in seconds.
const ttl = 3600

// Formats are the forms in which Write prints records, the default first.
var Formats = []string{"bind", "cloudflare", "route53", "terraform-cloudflare", "terraform-route53"}

// Write prints the records in one of Formats: as lines of a zone file, as the
// body of Cloudflare's batch call, as a change batch of Route 53, or as
// Terraform resources of either.
func Write(w io.Writer, format string, records []Record) error {
	var text string
	switch format {
	case "bind":
		for _, r := range records {
			text += fmt.Sprintf("; %s\n%s\n", r.About, r)
		}
	case "cloudflare":
		var posts []cloudflareRecord
		for _, r := range records {
			posts = append(posts, r.cloudflare())
		}
		return writeJSON(w, map[string]any{"posts": posts})
	case "route53":
		return writeJSON(w, route53(records))
	case "terraform-cloudflare":
		for i, r := range records {
			text += r.terraformCloudflare(i)
		}
	case "terraform-route53":
		for _, s := range sets(records) {
			text += s.terraform()
		}
	default:
		return fmt.Errorf("unknown format %q: want one of %s", format, strings.Join(Formats, ", "))
	}
	_, err := io.WriteString(w, text)
	return err
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// cloudflareRecord is one record of Cloudflare's API
// (https://developers.cloudflare.com/api/resources/dns/).
type cloudflareRecord struct {
	Type     string         `json:"type"`
	Name     string         `json:"name"`
	Content  string         `json:"content,omitempty"`
	Priority *int           `json:"priority,omitempty"`
	Data     map[string]any `json:"data,omitempty"`
	TTL      int            `json:"ttl"`
	Proxied  bool           `json:"proxied"`
	Comment  string         `json:"comment,omitempty"`
}

// cloudflare takes the value apart where Cloudflare wants its fields.
func (r Record) cloudflare() cloudflareRecord {
	c := cloudflareRecord{Type: r.Type, Name: r.Name, TTL: ttl, Comment: r.About}
	f := strings.Fields(r.Value)
	number := func(i int) int { n, _ := strconv.Atoi(f[i]); return n }
	switch r.Type {
	case "MX":
		n := number(0)
		c.Priority, c.Content = &n, bare(f[1])
	case "SRV":
		c.Data = map[string]any{"priority": number(0), "weight": number(1), "port": number(2), "target": bare(f[3])}
	case "TLSA":
		c.Data = map[string]any{"usage": number(0), "selector": number(1), "matching_type": number(2), "certificate": f[3]}
	case "CNAME":
		c.Content = bare(r.Value)
	default:
		c.Content = r.Value
	}
	return c
}

// bare is a name without its final dot.
func bare(name string) string { return strings.TrimSuffix(name, ".") }

// set has all records of one name and type, which Route 53 keeps together.
type set struct {
	name, typ string
	values    []string
}

func sets(records []Record) []set {
	var out []set
	for _, r := range records {
		i := slices.IndexFunc(out, func(s set) bool { return s.name == r.Name && s.typ == r.Type })
		if i < 0 {
			out = append(out, set{r.Name, r.Type, nil})
			i = len(out) - 1
		}
		out[i].values = append(out[i].values, r.Value)
	}
	return out
}

// route53 is a change batch, for aws route53 change-resource-record-sets
// (https://docs.aws.amazon.com/Route53/latest/APIReference/).
func route53(records []Record) any {
	type value struct{ Value string }
	type recordSet struct {
		Name, Type      string
		TTL             int
		ResourceRecords []value
	}
	type change struct {
		Action            string
		ResourceRecordSet recordSet
	}
	var changes []change
	for _, s := range sets(records) {
		rs := recordSet{Name: s.name + ".", Type: s.typ, TTL: ttl}
		for _, v := range s.values {
			rs.ResourceRecords = append(rs.ResourceRecords, value{v})
		}
		changes = append(changes, change{"UPSERT", rs})
	}
	return map[string]any{"Comment": "records of mailsrvd", "Changes": changes}
}

var notInLabels = regexp.MustCompile(`[^a-z0-9]+`)

// label names a resource; Terraform allows letters, digits and underscores.
func label(parts ...string) string {
	return "mail_" + strings.Trim(notInLabels.ReplaceAllString(strings.ToLower(strings.Join(parts, "_")), "_"), "_")
}

// hcl is a string of Terraform's language.
func hcl(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(strconv.Quote(s))
}

func (r Record) terraformCloudflare(i int) string {
	c := r.cloudflare()
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\nresource \"cloudflare_dns_record\" %q {\n  zone_id = var.zone_id\n  name    = %s\n  type    = %q\n  ttl     = %d\n",
		r.About, label(r.Type, r.Name, strconv.Itoa(i)), hcl(c.Name), c.Type, c.TTL)
	if c.Content != "" {
		fmt.Fprintf(&b, "  content = %s\n", hcl(c.Content))
	}
	if c.Priority != nil {
		fmt.Fprintf(&b, "  priority = %d\n", *c.Priority)
	}
	if c.Data != nil {
		b.WriteString("  data = {\n")
		for _, key := range []string{"priority", "weight", "port", "target", "usage", "selector", "matching_type", "certificate"} {
			switch v := c.Data[key].(type) {
			case int:
				fmt.Fprintf(&b, "    %s = %d\n", key, v)
			case string:
				fmt.Fprintf(&b, "    %s = %s\n", key, hcl(v))
			}
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n\n")
	return b.String()
}

func (s set) terraform() string {
	var values []string
	for _, v := range s.values {
		if s.typ == "TXT" { // the provider adds the outer quotes
			v = strings.TrimSuffix(strings.TrimPrefix(v, `"`), `"`)
		}
		values = append(values, hcl(v))
	}
	return fmt.Sprintf("resource \"aws_route53_record\" %q {\n  zone_id = var.zone_id\n  name    = %s\n  type    = %q\n  ttl     = %d\n  records = [%s]\n}\n\n",
		label(s.typ, s.name), hcl(s.name), s.typ, ttl, strings.Join(values, ", "))
}
