package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// proxy stands before the API server and spoils what it is told to. Who comes
// with a client certificate is passed on as that user: the API server trusts the
// front proxy's certificate to say who asks.
func proxy(arguments []string) error {
	flags := flag.NewFlagSet("proxy", flag.ExitOnError)
	target := flags.String("target", "", "URL of the API server")
	pki := flags.String("pki", "", "directory of the cluster's certificates")
	listen := flags.String("listen", "127.0.0.1:0", "address to listen at")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	server, err := url.Parse(*target)
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(filepath.Join(*pki, "ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return fmt.Errorf("no certificate in %s", filepath.Join(*pki, "ca.crt"))
	}
	pair := func(name string) (tls.Certificate, error) {
		return tls.LoadX509KeyPair(filepath.Join(*pki, name+".crt"), filepath.Join(*pki, name+".key"))
	}
	own, err := pair("apiserver")
	if err != nil {
		return err
	}
	front, err := pair("front-proxy")
	if err != nil {
		return err
	}
	// HTTP/1.1 on both sides: a connection can then be cut without harming others.
	transport := func(certificates ...tls.Certificate) *http.Transport {
		return &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: pool, Certificates: certificates, NextProtos: []string{"http/1.1"}},
			MaxIdleConnsPerHost: 32,
		}
	}
	trusted, plain := transport(front), transport()
	forward := &httputil.ReverseProxy{
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(server)
			for name := range request.Out.Header {
				if strings.HasPrefix(name, "X-Remote-") {
					request.Out.Header.Del(name)
				}
			}
			if peers := request.In.TLS.PeerCertificates; len(peers) > 0 {
				request.Out.Header.Set("X-Remote-User", peers[0].Subject.CommonName)
				for _, group := range append(peers[0].Subject.Organization, "system:authenticated") {
					request.Out.Header.Add("X-Remote-Group", group)
				}
			}
		},
		Transport: roundTripper(func(request *http.Request) (*http.Response, error) {
			if request.Header.Get("X-Remote-User") != "" {
				return trusted.RoundTrip(request)
			}
			return plain.RoundTrip(request)
		}),
		ErrorHandler: func(response http.ResponseWriter, _ *http.Request, err error) {
			refuse(response, http.StatusBadGateway, err.Error())
		},
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	faults := newFaults()
	faults.say(report{Ready: listener.Addr().String()})
	go faults.obey()
	return (&http.Server{
		Handler:  faults.around(forward),
		ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{own},
			ClientAuth:   tls.VerifyClientCertIfGiven,
			ClientCAs:    pool,
			NextProtos:   []string{"http/1.1"},
		},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}).ServeTLS(listener, "", "")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
