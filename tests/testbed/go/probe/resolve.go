package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"time"
)

// resolve asks for a name until it is answered or the time is up: one server
// and the name as it stands, or, without a server, as the pod's resolv.conf says.
func resolve(arguments []string) error {
	flags := flag.NewFlagSet("resolve", flag.ExitOnError)
	server := flags.String("server", "", "address of the DNS server")
	name := flags.String("name", "", "name to ask for")
	limit := flags.Duration("limit", 10*time.Second, "how long to go on asking")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	resolver, asked := net.DefaultResolver, *name
	if *server != "" {
		asked += "."
		resolver = &net.Resolver{
			PreferGo: true,
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(*server, "53"))
			},
		}
	}
	return retry(*limit, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		addresses, err := resolver.LookupHost(ctx, asked)
		if err == nil {
			for _, address := range addresses {
				fmt.Println(address)
			}
		}
		return err
	})
}
