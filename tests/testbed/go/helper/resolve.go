package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"time"
)

// resolve asks one DNS server for a name until it answers or the time is up.
func resolve(arguments []string) error {
	flags := flag.NewFlagSet("resolve", flag.ExitOnError)
	server := flags.String("server", "", "address of the DNS server")
	name := flags.String("name", "", "name to ask for")
	limit := flags.Duration("limit", 10*time.Second, "how long to go on asking")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	resolver := net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(*server, "53"))
		},
	}
	end := time.Now().Add(*limit)
	for pause := 20 * time.Millisecond; ; pause = min(pause*3/2, 500*time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		addresses, err := resolver.LookupHost(ctx, *name+".")
		cancel()
		if err == nil {
			fmt.Println(addresses)
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("no answer from %s within %s: %w", *server, *limit, err)
		}
		time.Sleep(pause)
	}
}
