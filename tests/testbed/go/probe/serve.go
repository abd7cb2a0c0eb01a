package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// serve answers HTTP with its host name and the client's address, and sends UDP
// back to where it came from, until SIGTERM.
func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	port := flags.Int("port", 8080, "port for HTTP and UDP")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", fmt.Sprintf(":%d", *port))
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 65536)
		for {
			size, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			if _, err := packets.WriteTo(append([]byte(name+" "), buffer[:size]...), from); err != nil {
				fmt.Println(err)
			}
		}
	}()
	server := http.Server{
		Addr: fmt.Sprintf(":%d", *port),
		Handler: http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
			fmt.Println(request.RemoteAddr, request.Method, request.URL)
			fmt.Fprintln(response, name, request.RemoteAddr)
		}),
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Println("serving")
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// get asks a URL until it answers or the time is up.
func get(arguments []string) error {
	flags := flag.NewFlagSet("get", flag.ExitOnError)
	limit := flags.Duration("limit", 10*time.Second, "how long to go on asking")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	client := http.Client{Timeout: 2 * time.Second}
	return retry(*limit, func() error {
		response, err := client.Get(flags.Arg(0))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(os.Stdout, response.Body)
		return err
	})
}

// write puts its second argument into the file that its first one names.
func write(arguments []string) error {
	if len(arguments) != 2 {
		return errors.New("need a file and a text")
	}
	return os.WriteFile(arguments[0], []byte(arguments[1]), 0o644)
}

// retry tries again and again, at first after 20 ms, later twice a second.
func retry(limit time.Duration, attempt func() error) error {
	end := time.Now().Add(limit)
	for pause := 20 * time.Millisecond; ; pause = min(pause*3/2, 500*time.Millisecond) {
		err := attempt()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("gave up after %s: %w", limit, err)
		}
		time.Sleep(pause)
	}
}
