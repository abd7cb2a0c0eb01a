package main

import (
	"context"
	"flag"
	"fmt"
	"os/signal"
	"syscall"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// controllers runs what a cloud provider would: a provisioner of volumes and a
// load balancer. One queue and one worker serve both; a test cluster has few of
// either, and no two changes can cross.
func controllers(arguments []string) error {
	flags := flag.NewFlagSet("controllers", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "file to reach the API server with")
	volumes := flags.String("volumes", "", "directory that holds the volumes")
	first := flags.String("first-address", "", "first address for load balancers")
	last := flags.String("last-address", "", "last address for load balancers")
	namespaces := flags.String("namespaces", "", "directory of the nodes' network namespaces")
	cluster := flags.String("cluster", "", "name of the cluster; its nodes are NAME-1 and NAME-2")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = "testbed-controllers"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[task]())
	factory := informers.NewSharedInformerFactory(client, 0)
	balancer, err := newBalancer(client, factory, queue, *first, *last, *namespaces, *cluster)
	if err != nil {
		return err
	}
	provisioner, err := newProvisioner(client, factory, queue, *volumes)
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	go func() {
		<-ctx.Done()
		queue.ShutDown()
	}()
	for {
		next, shutdown := queue.Get()
		if shutdown {
			return nil
		}
		var err error
		switch next.kind {
		case service:
			err = balancer.sync(ctx, next)
		case claim:
			err = provisioner.provision(ctx, next)
		case volume:
			err = provisioner.reclaim(ctx, next)
		}
		if err != nil {
			fmt.Printf("%s %s/%s: %v\n", next.kind, next.namespace, next.name, err)
			queue.AddRateLimited(next)
		} else {
			queue.Forget(next)
		}
		queue.Done(next)
	}
}

// task is one object to look at.
type task struct {
	kind            string
	namespace, name string
}

const (
	service = "service"
	claim   = "claim"
	volume  = "volume"
)
