// SPDX-License-Identifier: GPL-2.0
/*
 * The vCPU descriptor: creation, loading, kicking, and the ioctls that are not x86.
 */
#include "arch.h"
#include "coalesced.h"
#include "ioctl.h"
#include "virt.h"

#include "../include/compat/kvm_run.h"

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/sched/task.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <trace/events/ipi.h>

struct virt_vcpu *virt_vcpu_at(struct virt_vm *vm, unsigned int index)
{
	/* Pairs with the release in publish(): below nr_vcpus the entry is there. */
	if (index >= smp_load_acquire(&vm->nr_vcpus))
		return NULL;
	return xa_load(&vm->vcpus, index);
}

static void preempt_in(struct preempt_notifier *n, int cpu)
{
	struct virt_vcpu *v = container_of(n, struct virt_vcpu, preempt);

	v->cpu = cpu;
	virt_hardware_load(v);
	arch_vcpu_load(v, cpu);
	v->last_cpu = cpu;
}

static void preempt_out(struct preempt_notifier *n, struct task_struct *next)
{
	struct virt_vcpu *v = container_of(n, struct virt_vcpu, preempt);

	arch_vcpu_sched_out(v);
	arch_vcpu_put(v);
	virt_hardware_unload();
	v->cpu = -1;
}

static struct preempt_ops preempt_ops = {
	.sched_in	= preempt_in,
	.sched_out	= preempt_out,
};

void virt_vcpu_load(struct virt_vcpu *v)
{
	int cpu = get_cpu();

	lockdep_assert_held(&v->mutex);
	preempt_notifier_register(&v->preempt);
	v->cpu = cpu;
	v->loaded = true;
	virt_hardware_load(v);
	arch_vcpu_load(v, cpu);
	v->last_cpu = cpu;
	put_cpu();
}

void virt_vcpu_put(struct virt_vcpu *v)
{
	preempt_disable();
	arch_vcpu_put(v);
	virt_hardware_unload();
	v->loaded = false;
	v->cpu = -1;
	preempt_notifier_unregister(&v->preempt);
	preempt_enable();
}

bool virt_vcpu_yield_to(struct virt_vcpu *v)
{
	struct task_struct *task;
	bool yielded;

	rcu_read_lock();
	task = pid_task(rcu_dereference(v->pid), PIDTYPE_PID);
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	if (!task)
		return false;
	yielded = yield_to(task, true) > 0;
	put_task_struct(task);
	return yielded;
}

static bool preempted(const struct virt_vcpu *v)
{
	return READ_ONCE(v->loaded) && READ_ONCE(v->cpu) < 0;
}

void virt_vcpu_spins(struct virt_vcpu *v)
{
	unsigned int nr = READ_ONCE(v->vm->nr_vcpus), i, at = v->spin_next;
	struct virt_vcpu *other;

	for (i = 0; i < nr; i++) {
		at = at + 1 < nr ? at + 1 : 0;
		other = virt_vcpu_at(v->vm, at);
		if (other && other != v && preempted(other) && virt_vcpu_yield_to(other))
			break;
	}
	v->spin_next = at;
}

void virt_kick_there(struct virt_vcpu *v)
{
	int cpu;

	if (rcuwait_active(&v->wait))
		rcuwait_wake_up(&v->wait);
	if (READ_ONCE(v->mode) != VIRT_IN_GUEST)
		return;
	cpu = READ_ONCE(v->cpu);
	if (cpu >= 0 && cpu != raw_smp_processor_id() && cpu_online(cpu))
		smp_send_reschedule(cpu);
}

static void kicked(void *unused)
{
}

void virt_request_all(struct virt_vm *vm, unsigned int bit)
{
	struct virt_vcpu *v;
	unsigned int i;
	cpumask_var_t mask;
	bool have_mask = zalloc_cpumask_var(&mask, GFP_ATOMIC);
	int me = get_cpu();

	virt_for_each_vcpu(i, v, vm) {
		int cpu;

		virt_request(v, bit);
		rcuwait_wake_up(&v->wait);
		smp_mb();	/* as in virt_kick() */
		if (READ_ONCE(v->mode) == VIRT_OUTSIDE)
			continue;
		cpu = READ_ONCE(v->cpu);
		if (have_mask && cpu >= 0 && cpu != me)
			__cpumask_set_cpu(cpu, mask);
	}
	if (have_mask)
		smp_call_function_many(mask, kicked, NULL, true);
	else
		smp_call_function(kicked, NULL, true);
	vm->stats.remote_tlb_flush += bit == VIRT_REQ_TLB_FLUSH;
	put_cpu();
	if (have_mask)
		free_cpumask_var(mask);
}

/* ---- ioctls ---- */

/* The thread that runs the vCPU, for those who want to boost or name it. */
static void remember_thread(struct virt_vcpu *v)
{
	struct pid *old = rcu_access_pointer(v->pid), *new;

	if (likely(old == task_pid(current)))
		return;
	new = get_task_pid(current, PIDTYPE_PID);
	rcu_assign_pointer(v->pid, new);
	if (old) {
		synchronize_rcu();
		put_pid(old);
	}
}

static int run(struct virt_vcpu *v)
{
	int ret;

	v->wants_run = !run_immediate_exit(v->run);
	virt_srcu_resume(v);
	ret = arch_vcpu_run(v);
	virt_srcu_pause(v);
	v->wants_run = false;
	return ret;
}

static noinline int run_masked(struct virt_vcpu *v)
{
	sigset_t saved;
	int ret;

	sigprocmask(SIG_SETMASK, &v->sigset, &saved);
	ret = run(v);
	sigprocmask(SIG_SETMASK, &saved, NULL);
	return ret;
}

static long vcpu_run(struct virt_vcpu *v, void *data, unsigned long raw)
{
	if (raw)
		return -EINVAL;
	remember_thread(v);
	return unlikely(v->sigset_active) ? run_masked(v) : run(v);
}

static long vcpu_set_signal_mask(struct virt_vcpu *v, void *data, unsigned long raw)
{
	struct kvm_signal_mask __user *arg = (void __user *)raw;
	struct kvm_signal_mask mask;
	sigset_t set;

	if (!raw) {
		v->sigset_active = false;
		return 0;
	}
	if (copy_from_user(&mask, arg, sizeof(mask)))
		return -EFAULT;
	if (mask.len != sizeof(set))
		return -EINVAL;
	if (copy_from_user(&set, arg->sigset, sizeof(set)))
		return -EFAULT;
	sigdelsetmask(&set, sigmask(SIGKILL) | sigmask(SIGSTOP));
	v->sigset = set;
	v->sigset_active = true;
	return 0;
}

static long vcpu_stats_fd(struct virt_vcpu *v, void *data, unsigned long raw)
{
	return virt_vcpu_stats_fd(v);
}

static const struct ioctl_row rows[] = {
	{ KVM_RUN,		IOCTL_RAW | IOCTL_LOAD, .vcpu = vcpu_run },
	{ KVM_SET_SIGNAL_MASK,	IOCTL_RAW, .vcpu = vcpu_set_signal_mask },
	{ KVM_GET_STATS_FD,	IOCTL_RAW | IOCTL_UNLOCKED, .vcpu = vcpu_stats_fd },
};

static long vcpu_call(struct virt_vcpu *v, const struct ioctl_row *row, void *data,
		      unsigned long arg)
{
	bool load = row->flags & (virt_load_for_regs ? IOCTL_LOAD | IOCTL_REGS : IOCTL_LOAD);
	long ret;

	if (row->flags & IOCTL_UNLOCKED)
		return row->vcpu(v, data, arg);
	if (mutex_lock_killable(&v->mutex))
		return -EINTR;
	if (row->flags & IOCTL_SRCU)
		virt_srcu_resume(v);
	if (load)
		virt_vcpu_load(v);
	ret = row->vcpu(v, data, arg);
	if (load)
		virt_vcpu_put(v);
	/* What was read from the CPU is nothing, what was written is lost. */
	if (load && unlikely(test_bit(VIRT_REQ_OFF, &v->requests)) && row->vcpu != vcpu_run)
		ret = -EIO;
	if (row->flags & IOCTL_SRCU)
		virt_srcu_pause(v);
	mutex_unlock(&v->mutex);
	return ret;
}

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct virt_vcpu *v = file->private_data;
	const struct ioctl_row *row = ioctl_find(&vcpu_ioctls, cmd);
	IOCTL_STACK_BUFFER(stack);
	struct ioctl_buffer b;
	long ret;

	if (v->vm->mm != current->mm || READ_ONCE(v->vm->bugged))
		return -EIO;
	if (!row)
		return -ENOTTY;
	ret = ioctl_copy_in(&b, row, arg, stack);
	if (ret)
		return ret;
	ret = vcpu_call(v, row, b.data, arg);
	if (!ret)
		ret = ioctl_copy_out(&b, row, arg);
	ioctl_free(&b);
	return ret;
}

static vm_fault_t vcpu_fault(struct vm_fault *vmf)
{
	struct virt_vcpu *v = vmf->vma->vm_file->private_data;
	struct page *page;

	if (vmf->pgoff < VIRT_RUN_PAGES - 1)
		page = virt_to_page((void *)v->run + vmf->pgoff * PAGE_SIZE);
	else if (vmf->pgoff == VIRT_RUN_PAGES - 1)
		page = virt_coalesced_page(v->vm);
	else
		page = NULL;
	if (!page)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct vcpu_vm_ops = {
	.fault	= vcpu_fault,
};

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &vcpu_vm_ops;
	return 0;
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct virt_vcpu *v = file->private_data;

	virt_vm_put(v->vm);
	return 0;
}

static struct file_operations vcpu_fops = {
	.owner		= THIS_MODULE,
	.release	= vcpu_release,
	.unlocked_ioctl	= vcpu_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.mmap		= vcpu_mmap,
	.llseek		= noop_llseek,
};

static bool id_taken(struct virt_vm *vm, unsigned int id)
{
	struct virt_vcpu *v;
	unsigned int i;

	virt_for_each_vcpu(i, v, vm) {
		if (v->id == id)
			return true;
	}
	return false;
}

static void vcpu_free(struct virt_vcpu *v)
{
	put_pid(rcu_dereference_protected(v->pid, true));
	free_pages((unsigned long)v->run, VIRT_RUN_ORDER);
	arch_vcpu_free(v);
}

static struct virt_vcpu *vcpu_build(struct virt_vm *vm, unsigned int id)
{
	struct virt_vcpu *v = arch_vcpu_alloc(vm, id);
	int ret = -ENOMEM;

	if (IS_ERR(v))
		return v;
	v->vm = vm;
	v->id = id;
	v->cpu = -1;
	v->last_cpu = -1;
	mutex_init(&v->mutex);
	rcuwait_init(&v->wait);
	preempt_notifier_init(&v->preempt, &preempt_ops);
	snprintf(v->stats_id, sizeof(v->stats_id), "kvm-%d/vcpu-%u", task_pid_nr(current), id);
	v->run = (void *)__get_free_pages(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_COMP,
					  VIRT_RUN_ORDER);
	if (v->run)
		ret = arch_vcpu_init(v);
	if (ret) {
		vcpu_free(v);
		return ERR_PTR(ret);
	}
	return v;
}

/*
 * Give the vCPU its descriptor and make it visible; vm->lock held. The entry is stored before the
 * descriptor exists, as only what comes before it can fail.
 */
static long publish(struct virt_vm *vm, struct virt_vcpu *v)
{
	int fd = get_unused_fd_flags(O_CLOEXEC);
	struct file *file;
	int ret;

	if (fd < 0)
		return fd;
	v->index = vm->nr_vcpus;
	ret = xa_err(xa_store(&vm->vcpus, v->index, v, GFP_KERNEL_ACCOUNT));
	if (ret)
		goto err_fd;
	file = anon_inode_getfile("kvm-vcpu", &vcpu_fops, v, O_RDWR);
	if (IS_ERR(file)) {
		ret = PTR_ERR(file);
		goto err_entry;
	}
	virt_vm_get(vm);
	/* Pairs with virt_vcpu_at(). */
	smp_store_release(&vm->nr_vcpus, v->index + 1);
	arch_vcpu_published(v);
	fd_install(fd, file);
	return fd;

err_entry:
	xa_erase(&vm->vcpus, v->index);
err_fd:
	put_unused_fd(fd);
	return ret;
}

long virt_vcpu_create(struct virt_vm *vm, unsigned int id)
{
	struct virt_vcpu *v;
	long ret = -EEXIST;

	if (id >= arch_max_vcpu_ids(vm))
		return -EINVAL;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	if (vm->nr_vcpus >= VIRT_MAX_VCPUS)
		ret = -EINVAL;
	if (ret == -EINVAL || id_taken(vm, id))
		goto out;
	v = vcpu_build(vm, id);
	ret = PTR_ERR_OR_ZERO(v);
	if (ret)
		goto out;
	ret = publish(vm, v);
	if (ret < 0) {
		arch_vcpu_destroy(v);
		vcpu_free(v);
	}
out:
	mutex_unlock(&vm->lock);
	return ret;
}

void virt_vcpu_destroy_all(struct virt_vm *vm)
{
	struct virt_vcpu *v;
	unsigned int i;

	virt_for_each_vcpu(i, v, vm) {
		arch_vcpu_destroy(v);
		vcpu_free(v);
	}
	vm->nr_vcpus = 0;
}

int virt_vcpu_ioctls_init(void)
{
	return ioctl_table_add(&vcpu_ioctls, rows, ARRAY_SIZE(rows));
}
