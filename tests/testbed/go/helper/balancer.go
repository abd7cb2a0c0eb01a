package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// How a Service of type LoadBalancer is served is said by this annotation of the
// Service, or else of its namespace:
//
//	soon      an address at once (the default)
//	late=20s  an address that long after the Service was made
//	never     no address
//	hostname  a host name and no address
const balancerAnnotation = "clearwater.test/load-balancer"

// balancer hands out addresses of the cluster's network. The node that has the
// address answers ARP for it, and kube-proxy there does the rest.
type balancer struct {
	client      kubernetes.Interface
	queue       workqueue.TypedRateLimitingInterface[task]
	services    corelisters.ServiceLister
	spaces      corelisters.NamespaceLister
	slices      discoverylisters.EndpointSliceLister
	first, last netip.Addr
	namespaces  string
	cluster     string
	// placed says which node has an address.
	placed map[netip.Addr]string
	// given says which Service has an address.
	given map[netip.Addr]task
}

func newBalancer(client kubernetes.Interface, factory informers.SharedInformerFactory, queue workqueue.TypedRateLimitingInterface[task], first, last, namespaces, cluster string) (*balancer, error) {
	low, err := netip.ParseAddr(first)
	if err != nil {
		return nil, err
	}
	high, err := netip.ParseAddr(last)
	if err != nil {
		return nil, err
	}
	services := factory.Core().V1().Services()
	spaces := factory.Core().V1().Namespaces()
	endpoints := factory.Discovery().V1().EndpointSlices()
	b := &balancer{
		client: client, queue: queue,
		services: services.Lister(), spaces: spaces.Lister(), slices: endpoints.Lister(),
		first: low, last: high, namespaces: namespaces, cluster: cluster,
		placed: map[netip.Addr]string{}, given: map[netip.Addr]task{},
	}
	enqueue := func(object any) {
		if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = gone.Obj
		}
		switch object := object.(type) {
		case *core.Service:
			queue.Add(task{service, object.Namespace, object.Name})
		case *discovery.EndpointSlice:
			if name := object.Labels[discovery.LabelServiceName]; name != "" {
				queue.Add(task{service, object.Namespace, name})
			}
		case *core.Namespace:
			all, _ := services.Lister().Services(object.Name).List(labels.Everything())
			for _, each := range all {
				queue.Add(task{service, each.Namespace, each.Name})
			}
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, object any) { enqueue(object) }, DeleteFunc: enqueue,
	}
	for _, informer := range []cache.SharedIndexInformer{services.Informer(), spaces.Informer(), endpoints.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *balancer) sync(ctx context.Context, next task) error {
	svc, err := b.services.Services(next.namespace).Get(next.name)
	if errors.IsNotFound(err) {
		return b.release(next)
	}
	if err != nil {
		return err
	}
	if svc.Spec.Type != core.ServiceTypeLoadBalancer || svc.DeletionTimestamp != nil || svc.Spec.LoadBalancerClass != nil {
		return b.release(next)
	}
	mode, argument, _ := strings.Cut(b.mode(svc), "=")
	var status []core.LoadBalancerIngress
	switch mode {
	case "never":
		err = b.release(next)
	case "hostname":
		status = []core.LoadBalancerIngress{{Hostname: svc.Name + "." + svc.Namespace + ".lb.clearwater.test"}}
		err = b.release(next)
	case "late":
		var delay time.Duration
		if delay, err = time.ParseDuration(argument); err != nil {
			return fmt.Errorf("%s: late needs a duration, as in late=20s: %w", balancerAnnotation, err)
		}
		if left := time.Until(svc.CreationTimestamp.Add(delay)); left > 0 {
			b.queue.AddAfter(next, left)
			return nil
		}
		status, err = b.serve(svc, next)
	default:
		status, err = b.serve(svc, next)
	}
	if err != nil || equality.Semantic.DeepEqual(ignoreDefaults(svc.Status.LoadBalancer.Ingress), status) {
		return err
	}
	changed := svc.DeepCopy()
	changed.Status.LoadBalancer.Ingress = status
	_, err = b.client.CoreV1().Services(svc.Namespace).UpdateStatus(ctx, changed, meta.UpdateOptions{})
	return err
}

// ignoreDefaults drops what the API server adds by itself.
func ignoreDefaults(status []core.LoadBalancerIngress) []core.LoadBalancerIngress {
	var bare []core.LoadBalancerIngress
	for _, each := range status {
		bare = append(bare, core.LoadBalancerIngress{IP: each.IP, Hostname: each.Hostname})
	}
	return bare
}

func (b *balancer) mode(svc *core.Service) string {
	if mode := svc.Annotations[balancerAnnotation]; mode != "" {
		return mode
	}
	if space, err := b.spaces.Get(svc.Namespace); err == nil && space.Annotations[balancerAnnotation] != "" {
		return space.Annotations[balancerAnnotation]
	}
	return "soon"
}

// serve finds the Service's address and the node that shall have it.
func (b *balancer) serve(svc *core.Service, owner task) ([]core.LoadBalancerIngress, error) {
	address, err := b.address(svc, owner)
	if err != nil {
		return nil, err
	}
	node := b.node(svc, address)
	if b.placed[address] != node {
		if err := b.place(address, node); err != nil {
			return nil, err
		}
	}
	return []core.LoadBalancerIngress{{IP: address.String()}}, nil
}

func (b *balancer) address(svc *core.Service, owner task) (netip.Addr, error) {
	for address, other := range b.given {
		if other == owner {
			return address, nil
		}
	}
	// What was given before this process started.
	for _, ingress := range svc.Status.LoadBalancer.Ingress {
		if address, err := netip.ParseAddr(ingress.IP); err == nil && b.free(address) {
			b.given[address] = owner
			return address, nil
		}
	}
	if svc.Spec.LoadBalancerIP != "" {
		address, err := netip.ParseAddr(svc.Spec.LoadBalancerIP)
		if err != nil {
			return address, err
		}
		if !b.free(address) {
			return address, fmt.Errorf("the address %s is taken, or not between %s and %s", address, b.first, b.last)
		}
		b.given[address] = owner
		return address, nil
	}
	for address := b.first; address.Compare(b.last) <= 0; address = address.Next() {
		if b.free(address) && !b.claimed(address, owner) {
			b.given[address] = owner
			return address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address is free between %s and %s", b.first, b.last)
}

func (b *balancer) free(address netip.Addr) bool {
	_, taken := b.given[address]
	return !taken && address.Compare(b.first) >= 0 && address.Compare(b.last) <= 0
}

// claimed says whether another Service has the address in its status, given by
// an earlier run of this process.
func (b *balancer) claimed(address netip.Addr, owner task) bool {
	all, _ := b.services.List(labels.Everything())
	return slices.ContainsFunc(all, func(svc *core.Service) bool {
		if svc.Namespace == owner.namespace && svc.Name == owner.name {
			return false
		}
		return slices.ContainsFunc(svc.Status.LoadBalancer.Ingress, func(ingress core.LoadBalancerIngress) bool {
			return ingress.IP == address.String()
		})
	})
}

// node picks one that has a ready pod where the Service wants the client's
// address kept, and otherwise spreads addresses over both.
func (b *balancer) node(svc *core.Service, address netip.Addr) string {
	first, second := b.cluster+"-1", b.cluster+"-2"
	if svc.Spec.ExternalTrafficPolicy == core.ServiceExternalTrafficPolicyLocal {
		found, _ := b.slices.EndpointSlices(svc.Namespace).List(labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: svc.Name}))
		ready := map[string]bool{}
		for _, slice := range found {
			for _, endpoint := range slice.Endpoints {
				if endpoint.NodeName != nil && endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
					ready[*endpoint.NodeName] = true
				}
			}
		}
		if current := b.placed[address]; current != "" && (ready[current] || len(ready) == 0) {
			return current
		}
		if ready[first] != ready[second] {
			if ready[first] {
				return first
			}
			return second
		}
	}
	if last := address.As4(); binary.BigEndian.Uint32(last[:])%2 == 0 {
		return first
	}
	return second
}

// place moves an address to a node.
func (b *balancer) place(address netip.Addr, node string) error {
	delete(b.placed, address)
	for _, each := range []string{"1", "2"} {
		wanted := b.cluster+"-"+each == node
		verb := "delete"
		if wanted {
			verb = "replace"
		}
		namespace := filepath.Join(b.namespaces, "n"+each)
		output, err := exec.Command("nsenter", "--net="+namespace, "ip", "address", verb, address.String()+"/32", "dev", "eth0").CombinedOutput()
		if err != nil && wanted {
			return fmt.Errorf("cannot give %s to %s: %w: %s", address, node, err, output)
		}
	}
	// Neighbours remember for a minute who had it.
	for _, namespace := range []string{"/proc/self/ns/net", filepath.Join(b.namespaces, "cp"), filepath.Join(b.namespaces, "n1"), filepath.Join(b.namespaces, "n2")} {
		_ = exec.Command("nsenter", "--net="+namespace, "ip", "neighbour", "flush", "to", address.String()).Run()
	}
	if node != "" {
		b.placed[address] = node
	}
	return nil
}

func (b *balancer) release(owner task) error {
	for address, other := range b.given {
		if other == owner {
			delete(b.given, address)
			return b.place(address, "")
		}
	}
	return nil
}
