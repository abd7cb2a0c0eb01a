package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	deviceplugin "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const longestTurn = 20 * time.Second

// takeTurns keeps two kubelets of one machine from binding the same path in the same instant, which ends one of them with "address already in use": the next one starts when this one has bound it.
// The path is a constant of Kubernetes that no flag moves; the directory that it is in serves as the lock.
// A kubelet that never gets so far, for want of its container runtime say, holds the others up for twenty seconds.
func takeTurns() {
	lock, err := claim(deviceplugin.DevicePluginPath)
	if err != nil {
		fmt.Fprintf(os.Stderr, "kube: %v; the kubelet starts without waiting for its turn\n", err)
		return
	}
	go func() {
		defer lock.Close()
		for deadline := time.Now().Add(longestTurn); time.Now().Before(deadline) && !bound(); {
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

func claim(directory string) (*os.File, error) {
	if err := os.MkdirAll(directory, 0o750); err != nil {
		return nil, err
	}
	lock, err := os.Open(directory)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		lock.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", directory, err)
	}
	return lock, nil
}

// bound tells whether this network namespace, and each node has its own, has the socket.
func bound() bool {
	sockets, err := os.ReadFile("/proc/self/net/unix")
	return err == nil && strings.Contains(string(sockets), " "+deviceplugin.KubeletSocket+"\n")
}
