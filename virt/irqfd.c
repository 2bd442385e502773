// SPDX-License-Identifier: GPL-2.0
/*
 * KVM_IRQFD: signalling an eventfd raises an interrupt.
 *
 * The interrupt is raised from the eventfd's wake-up, with its lock held and interrupts off:
 * routing and delivery take no lock that sleeps. An irqfd ends when it is deassigned, when its VM
 * goes, or when the last descriptor of its eventfd is closed; in the last case a work item does it,
 * as the wake-up cannot.
 */
#include "arch.h"
#include "eventfd.h"
#include "virt.h"

#include "../include/compat/eventfd.h"

#include <linux/file.h>
#include <linux/poll.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

/**
 * struct irqfd - one eventfd that raises an interrupt
 * @vm: whose interrupt
 * @gsi: which
 * @ctx: what is signalled
 * @count: how often, as last read; nobody wants to know
 * @resample: signalled when the guest has acknowledged the interrupt; NULL for an edge
 * @head: in virt_irqfds.list; empty once it is out of the wait queue
 * @resampling: in virt_irqfds.resamplers
 * @wait: place in the eventfd's wait queue
 * @poll: how it got there
 * @shutdown: ends it when the eventfd is closed
 */
struct irqfd {
	struct virt_vm *vm;
	u32 gsi;
	struct eventfd_ctx *ctx;
	u64 count;
	struct eventfd_ctx *resample;
	struct list_head head;
	struct list_head resampling;
	wait_queue_entry_t wait;
	poll_table poll;
	struct work_struct shutdown;
};

/*
 * A queue of the module's own: a work item may be all that is left of a VM, and must have ended
 * before the module goes.
 */
static struct workqueue_struct *shutdowns;

int virt_irqfd_module_init(void)
{
	shutdowns = alloc_workqueue("strata-irqfd", 0, 0);
	return shutdowns ? 0 : -ENOMEM;
}

void virt_irqfd_module_exit(void)
{
	destroy_workqueue(shutdowns);
}

static void fire(struct irqfd *f)
{
	if (f->resample)
		arch_irq_set(f->vm, VIRT_IRQ_RESAMPLE, f->gsi, true);
	else
		arch_irq_pulse(f->vm, VIRT_IRQ_EVENTFD, f->gsi);
}

/* Out of the list and of the wait queue: from here on it is only freed. */
static void unhook(struct irqfd *f)
{
	u64 count;

	list_del_init(&f->head);
	eventfd_ctx_remove_wait_queue(f->ctx, &f->wait, &count);
}

/*
 * Somebody else may hold the line up, and is told of its end only if it stays there until the guest
 * has served it.
 */
static bool line_is_shared(struct virt_vm *vm, u32 gsi)
{
	struct irqfd *f;

	list_for_each_entry(f, &vm->irqfds.resamplers, resampling)
		if (f->gsi == gsi)
			return true;
	return false;
}

static void irqfd_free(struct irqfd *f)
{
	lockdep_assert_held(&f->vm->irqfds.lock);
	if (f->resample) {
		list_del_rcu(&f->resampling);
		synchronize_rcu_expedited();
		if (!line_is_shared(f->vm, f->gsi))
			arch_irq_set(f->vm, VIRT_IRQ_RESAMPLE, f->gsi, false);
		eventfd_ctx_put(f->resample);
	}
	eventfd_ctx_put(f->ctx);
	kfree(f);
}

static void shutdown(struct work_struct *work)
{
	struct irqfd *f = container_of(work, struct irqfd, shutdown);
	struct virt_irqfds *all = &f->vm->irqfds;
	struct virt_vm *vm = f->vm;

	mutex_lock(&all->lock);
	if (!list_empty(&f->head))
		unhook(f);
	irqfd_free(f);
	mutex_unlock(&all->lock);
	virt_vm_put(vm);
}

static int wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *f = container_of(wait, struct irqfd, wait);
	__poll_t events = key_to_poll(key);

	if (events & EPOLLIN) {
		eventfd_ctx_do_read(f->ctx, &f->count);
		fire(f);
	}
	/*
	 * The VM's descriptor may be closed before the work runs; a VM that is already being
	 * destroyed ends its irqfds itself.
	 */
	if ((events & EPOLLHUP) && refcount_inc_not_zero(&f->vm->refs) &&
	    !queue_work(shutdowns, &f->shutdown))
		virt_vm_put(f->vm);
	return 0;
}

static void queue_wait(struct file *file, wait_queue_head_t *head, poll_table *poll)
{
	struct irqfd *f = container_of(poll, struct irqfd, poll);

	add_wait_queue_priority(head, &f->wait);
}

static bool known(struct virt_irqfds *all, const struct eventfd_ctx *ctx)
{
	struct irqfd *f;

	list_for_each_entry(f, &all->list, head)
		if (f->ctx == ctx)
			return true;
	return false;
}

static long add(struct virt_vm *vm, struct irqfd *f, struct file *file)
{
	struct virt_irqfds *all = &vm->irqfds;
	__poll_t events;

	if (known(all, f->ctx))
		return -EBUSY;
	list_add_tail(&f->head, &all->list);
	if (f->resample)
		list_add_tail_rcu(&f->resampling, &all->resamplers);
	/* What was signalled before is not lost. */
	events = vfs_poll(file, &f->poll);
	if (events & EPOLLIN)
		fire(f);
	return 0;
}

static struct eventfd_ctx *resample_of(const struct kvm_irqfd *arg)
{
	return arg->flags & KVM_IRQFD_FLAG_RESAMPLE ? eventfd_ctx_fdget(arg->resamplefd) : NULL;
}

static long assign(struct virt_vm *vm, const struct kvm_irqfd *arg)
{
	struct irqfd *f;
	struct file *file;
	long ret;

	if (!arch_irqfd_allowed(vm, arg->flags & KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	file = eventfd_fget(arg->fd);
	if (IS_ERR(file))
		return PTR_ERR(file);
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	ret = -ENOMEM;
	if (!f)
		goto out_file;
	f->vm = vm;
	f->gsi = arg->gsi;
	INIT_WORK(&f->shutdown, shutdown);
	init_waitqueue_func_entry(&f->wait, wakeup);
	init_poll_funcptr(&f->poll, queue_wait);
	f->resample = resample_of(arg);
	ret = PTR_ERR_OR_ZERO(f->resample);
	if (ret)
		goto out_free;
	f->ctx = eventfd_ctx_fileget(file);
	mutex_lock(&vm->irqfds.lock);
	ret = add(vm, f, file);
	mutex_unlock(&vm->irqfds.lock);
	if (!ret)
		goto out_file;
	eventfd_ctx_put(f->ctx);
	if (f->resample)
		eventfd_ctx_put(f->resample);
out_free:
	kfree(f);
out_file:
	fput(file);
	return ret;
}

static void end_all(struct virt_vm *vm, const struct eventfd_ctx *ctx, u32 gsi, bool all_of_them)
{
	struct irqfd *f, *next;

	mutex_lock(&vm->irqfds.lock);
	list_for_each_entry_safe(f, next, &vm->irqfds.list, head) {
		if (!all_of_them && (f->ctx != ctx || f->gsi != gsi))
			continue;
		unhook(f);
		/*
		 * The eventfd was closed meanwhile: work that runs waits for the mutex, and frees
		 * it then.
		 */
		if (cancel_work(&f->shutdown))
			virt_vm_put(vm);
		else if (work_busy(&f->shutdown) & WORK_BUSY_RUNNING)
			continue;
		irqfd_free(f);
	}
	mutex_unlock(&vm->irqfds.lock);
}

static long deassign(struct virt_vm *vm, const struct kvm_irqfd *arg)
{
	struct eventfd_ctx *ctx = eventfd_ctx_fdget(arg->fd);

	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	end_all(vm, ctx, arg->gsi, false);
	eventfd_ctx_put(ctx);
	return 0;
}

long virt_irqfd(struct virt_vm *vm, void *data, unsigned long raw)
{
	const struct kvm_irqfd *arg = data;

	if (arg->flags & ~(u32)(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	return arg->flags & KVM_IRQFD_FLAG_DEASSIGN ? deassign(vm, arg) : assign(vm, arg);
}

void virt_irqfd_acked(struct virt_vm *vm, u32 gsi)
{
	bool lowered = false;
	struct irqfd *f;

	if (list_empty(&vm->irqfds.resamplers))
		return;
	rcu_read_lock();
	list_for_each_entry_rcu(f, &vm->irqfds.resamplers, resampling) {
		if (f->gsi != gsi)
			continue;
		/*
		 * All that share the line lower it at once, and those still asserting raise it
		 * again.
		 */
		if (!lowered)
			arch_irq_set(vm, VIRT_IRQ_RESAMPLE, gsi, false);
		lowered = true;
		compat_eventfd_signal(f->resample);
	}
	rcu_read_unlock();
}

void virt_irqfd_init(struct virt_vm *vm)
{
	mutex_init(&vm->irqfds.lock);
	INIT_LIST_HEAD(&vm->irqfds.list);
	INIT_LIST_HEAD(&vm->irqfds.resamplers);
}

void virt_irqfd_destroy(struct virt_vm *vm)
{
	end_all(vm, NULL, 0, true);
}
