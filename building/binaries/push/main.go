// Push an OCI image layout to a registry. Without a layout: only see whether that would be allowed.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/logs"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

const username, password = "DRA_REGISTRY_USERNAME", "DRA_REGISTRY_PASSWORD"

var errPlain = errors.New("plain HTTP is not allowed")

func main() {
	insecure := flag.Bool("insecure", false, "accept any certificate, and plain HTTP where there is no TLS")
	flag.Parse()
	logs.Progress.SetOutput(os.Stderr)
	logs.Progress.SetFlags(0)
	if err := run(*insecure, flag.Arg(0), flag.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(insecure bool, to, from string) error {
	// The library takes plain HTTP for granted where an address looks private; here it is asked for.
	client := remote.DefaultTransport.(*http.Transport).Clone()
	client.TLSClientConfig = &tls.Config{InsecureSkipVerify: insecure}
	var way http.RoundTripper = encrypted{client}
	options := []name.Option{name.StrictValidation}
	if insecure {
		way, options = client, append(options, name.Insecure)
	}
	tag, err := name.NewTag(to, options...)
	if err != nil {
		return err
	}
	who, origin, err := credentials(tag)
	if err != nil {
		return err
	}
	if from == "" {
		err = remote.CheckPushPermission(tag, keychain{who}, way)
	} else {
		err = push(tag, from, remote.WithAuth(who), remote.WithTransport(way))
	}
	if err != nil {
		return fmt.Errorf("%s: %w%s", tag.RegistryStr(), err, advice(err, tag, origin))
	}
	return nil
}

// push prints the digest of what now has the tag: of a layout with one image this image, else the index.
func push(tag name.Tag, from string, options ...remote.Option) error {
	index, err := layout.ImageIndexFromPath(from)
	if err != nil {
		return err
	}
	described, err := index.IndexManifest()
	if err != nil {
		return err
	}
	updates := make(chan v1.Update)
	shown := make(chan struct{})
	go show(updates, shown)
	options = append(options, remote.WithProgress(updates))
	var digest v1.Hash
	if len(described.Manifests) == 1 {
		digest = described.Manifests[0].Digest
		var image v1.Image
		if image, err = index.Image(digest); err != nil {
			return err
		}
		err = remote.Write(tag, image, options...)
	} else {
		if digest, err = index.Digest(); err != nil {
			return err
		}
		err = remote.WriteIndex(tag, index, options...)
	}
	<-shown
	if err == nil {
		fmt.Println(digest)
	}
	return err
}

// show says how far it is, at every tenth of the bytes.
func show(updates <-chan v1.Update, shown chan<- struct{}) {
	defer close(shown)
	tenth := int64(0)
	for at := range updates {
		if at.Total > 0 && at.Complete*10/at.Total > tenth {
			tenth = at.Complete * 10 / at.Total
			logs.Progress.Printf("%d of %d MB", at.Complete/1e6, at.Total/1e6)
		}
	}
}

// credentials are those of the environment, else those that Docker's or Podman's configuration names.
func credentials(tag name.Tag) (authn.Authenticator, string, error) {
	user, secret := os.Getenv(username), os.Getenv(password)
	if (user == "") != (secret == "") {
		return nil, "", fmt.Errorf("%s and %s: set both, or none", username, password)
	}
	if user != "" {
		return &authn.Basic{Username: user, Password: secret}, username + " and " + password, nil
	}
	who, err := authn.DefaultKeychain.Resolve(tag.Context())
	if err != nil {
		return nil, "", fmt.Errorf("the credentials of Docker's config.json for %s: %w", tag.RegistryStr(), err)
	}
	if who == authn.Anonymous {
		return who, "no credentials", nil
	}
	return who, "the credentials of Docker's config.json", nil
}

type keychain struct{ who authn.Authenticator }

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) { return k.who, nil }

type encrypted struct{ http.RoundTripper }

func (e encrypted) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" {
		return nil, errPlain
	}
	return e.RoundTripper.RoundTrip(request)
}

// advice is what to do about an error, where that is known.
func advice(err error, tag name.Tag, origin string) string {
	var refused *transport.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate), errors.Is(err, errPlain),
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "\nIf it speaks plain HTTP, or its certificate's authority is unknown to this machine" +
			" (SSL_CERT_FILE names a file of others), and you trust the network: --insecure"
	case !errors.As(err, &refused):
		return ""
	}
	switch refused.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("\nTried with %s. Log in with `docker login %s` or another tool that writes"+
			" Docker's config.json, or set %s and %s; they need the right to push to %s",
			origin, tag.RegistryStr(), username, password, tag.RepositoryStr())
	case http.StatusNotFound:
		return fmt.Sprintf("\nIs it a registry, and does it want %q to be created first?", tag.RepositoryStr())
	case http.StatusTooManyRequests:
		return "\nIt limits how much may be asked for: try again later, or log in"
	}
	return ""
}
