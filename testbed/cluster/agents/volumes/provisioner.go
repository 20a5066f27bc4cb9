package main

import (
	"context"
	"fmt"
	"log"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	// provisionerName is what storage classes name.
	provisionerName = "testbed.local/volumes"
	// askedOf is where the controller manager writes which provisioner a claim waits for.
	askedOf = "volume.kubernetes.io/storage-provisioner"
	// providedBy keeps the controller manager from deleting what it does not know.
	providedBy = "pv.kubernetes.io/provisioned-by"
)

// provisioner makes a volume for every claim on it, and takes away those that are released.
type provisioner struct {
	client  kubernetes.Interface
	node    string
	disks   disks
	factory informers.SharedInformerFactory
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	// queue has one word for everything: there are few claims.
	queue workqueue.TypedRateLimitingInterface[string]
}

func newProvisioner(client kubernetes.Interface, node string, disks disks) *provisioner {
	factory := informers.NewSharedInformerFactory(client, 0)
	core := factory.Core().V1()
	limit := workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 5*time.Second)
	return &provisioner{
		client: client, node: node, disks: disks, factory: factory,
		claims: core.PersistentVolumeClaims().Lister(), volumes: core.PersistentVolumes().Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(limit),
	}
}

func (p *provisioner) run(ctx context.Context) error {
	const all = "all"
	notice := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { p.queue.Add(all) },
		UpdateFunc: func(_, _ any) { p.queue.Add(all) },
	}
	core := p.factory.Core().V1()
	for _, informer := range []cache.SharedIndexInformer{
		core.PersistentVolumeClaims().Informer(), core.PersistentVolumes().Informer(),
	} {
		if _, err := informer.AddEventHandler(notice); err != nil {
			return err
		}
	}
	p.factory.Start(ctx.Done())
	p.factory.WaitForCacheSync(ctx.Done())
	go func() { <-ctx.Done(); p.queue.ShutDown() }()
	for {
		item, ended := p.queue.Get()
		if ended {
			return nil
		}
		if p.reconcile(ctx) {
			p.queue.Forget(item)
		} else {
			p.queue.AddRateLimited(item)
		}
		p.queue.Done(item)
	}
}

// reconcile does what is to be done, and tells whether all of it was.
func (p *provisioner) reconcile(ctx context.Context) bool {
	done := true
	try := func(what string, err error) {
		if err != nil {
			log.Printf("%s: %v", what, err)
			done = false
		}
	}
	claims, err := p.claims.List(labels.Everything())
	try("list claims", err)
	for _, claim := range claims {
		if claim.Annotations[askedOf] == provisionerName && claim.Spec.VolumeName == "" && claim.DeletionTimestamp == nil {
			try("provide for "+claim.Namespace+"/"+claim.Name, p.provide(ctx, claim))
		}
	}
	volumes, err := p.volumes.List(labels.Everything())
	try("list volumes", err)
	for _, volume := range volumes {
		released := volume.Status.Phase == corev1.VolumeReleased
		deletes := volume.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete
		if volume.Annotations[providedBy] == provisionerName && released && deletes {
			try("take away "+volume.Name, p.takeAway(ctx, volume.Name))
		}
	}
	return done
}

// provide makes the volume of a claim; that it is named after the claim makes a second try find the first.
func (p *provisioner) provide(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if claim.Spec.VolumeMode != nil && *claim.Spec.VolumeMode != corev1.PersistentVolumeFilesystem {
		return fmt.Errorf("there are only volumes with a file system")
	}
	name := "pvc-" + string(claim.UID)
	if err := p.disks.create(name, size.Value()); err != nil {
		return err
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, p.volume(name, claim), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (p *provisioner) volume(name string, claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	here := corev1.NodeSelectorRequirement{
		Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{p.node},
	}
	terms := []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{here}}}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{
		Name: name, Annotations: map[string]string{providedBy: provisionerName},
	}}
	volume.Spec = corev1.PersistentVolumeSpec{
		Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
		AccessModes:                   claim.Spec.AccessModes,
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
		ClaimRef: &corev1.ObjectReference{
			APIVersion: "v1", Kind: "PersistentVolumeClaim",
			Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
		},
		NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms}},
	}
	if claim.Spec.StorageClassName != nil {
		volume.Spec.StorageClassName = *claim.Spec.StorageClassName
	}
	volume.Spec.Local = &corev1.LocalVolumeSource{Path: p.disks.path(name)}
	return volume
}

func (p *provisioner) takeAway(ctx context.Context, name string) error {
	if err := p.disks.remove(name); err != nil {
		return err
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
