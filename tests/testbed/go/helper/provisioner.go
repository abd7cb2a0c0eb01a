package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	provisionerName = "clearwater.test/directory"
	provisionedBy   = "pv.kubernetes.io/provisioned-by"
	selectedNode    = "volume.kubernetes.io/selected-node"
)

// provisioner gives every claim of its StorageClass a directory. Both nodes see
// the same file system, so a volume follows its pod from node to node.
type provisioner struct {
	client  kubernetes.Interface
	root    string
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
}

func newProvisioner(client kubernetes.Interface, factory informers.SharedInformerFactory, queue workqueue.TypedInterface[task], root string) (*provisioner, error) {
	claims := factory.Core().V1().PersistentVolumeClaims()
	volumes := factory.Core().V1().PersistentVolumes()
	classes := factory.Storage().V1().StorageClasses()
	add := func(kind string) cache.ResourceEventHandlerFuncs {
		enqueue := func(object any) {
			if named, ok := object.(meta.Object); ok {
				queue.Add(task{kind, named.GetNamespace(), named.GetName()})
			}
		}
		return cache.ResourceEventHandlerFuncs{AddFunc: enqueue, UpdateFunc: func(_, object any) { enqueue(object) }}
	}
	if _, err := claims.Informer().AddEventHandler(add(claim)); err != nil {
		return nil, err
	}
	if _, err := volumes.Informer().AddEventHandler(add(volume)); err != nil {
		return nil, err
	}
	return &provisioner{client, root, claims.Lister(), volumes.Lister(), classes.Lister()}, nil
}

func (p *provisioner) provision(ctx context.Context, next task) error {
	claim, err := p.claims.PersistentVolumeClaims(next.namespace).Get(next.name)
	if errors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if claim.Spec.VolumeName != "" || claim.Spec.StorageClassName == nil || claim.DeletionTimestamp != nil {
		return nil
	}
	class, err := p.classes.Get(*claim.Spec.StorageClassName)
	if errors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if class.Provisioner != provisionerName {
		return nil
	}
	waits := class.VolumeBindingMode != nil && *class.VolumeBindingMode == storage.VolumeBindingWaitForFirstConsumer
	if waits && claim.Annotations[selectedNode] == "" {
		return nil
	}
	policy := core.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		policy = *class.ReclaimPolicy
	}
	name := "pvc-" + string(claim.UID)
	directory := filepath.Join(p.root, name)
	if err := os.MkdirAll(directory, 0o777); err != nil {
		return err
	}
	// Containers run as any user, and MkdirAll heeds the umask.
	if err := os.Chmod(directory, 0o777); err != nil {
		return err
	}
	kind := core.HostPathDirectory
	_, err = p.client.CoreV1().PersistentVolumes().Create(ctx, &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisionerName}},
		Spec: core.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			PersistentVolumeReclaimPolicy: policy,
			StorageClassName:              class.Name,
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: core.PersistentVolumeSource{
				HostPath: &core.HostPathVolumeSource{Path: directory, Type: &kind},
			},
		},
	}, meta.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (p *provisioner) reclaim(ctx context.Context, next task) error {
	volume, err := p.volumes.Get(next.name)
	if errors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if volume.Annotations[provisionedBy] != provisionerName || volume.Status.Phase != core.VolumeReleased ||
		volume.Spec.PersistentVolumeReclaimPolicy != core.PersistentVolumeReclaimDelete {
		return nil
	}
	directory := filepath.Join(p.root, volume.Name)
	if volume.Spec.HostPath == nil || volume.Spec.HostPath.Path != directory {
		return fmt.Errorf("the volume is not at %s: left alone", directory)
	}
	if err := os.RemoveAll(directory); err != nil {
		return err
	}
	err = p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, meta.DeleteOptions{})
	if errors.IsNotFound(err) {
		return nil
	}
	return err
}
