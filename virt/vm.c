// SPDX-License-Identifier: GPL-2.0
/*
 * The VM descriptor: creation, lifetime, VM ioctls that are not x86.
 *
 * References: one for the VM descriptor, one for each vCPU descriptor and each stats descriptor.
 * vCPUs live as long as their VM, whether or not their descriptors are open.
 */
#include "arch.h"
#include "coalesced.h"
#include "ioctl.h"
#include "notifier.h"
#include "virt.h"

#include "../include/compat/memory.h"

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

static int vm_setup(struct virt_vm *vm)
{
	int ret = init_srcu_struct(&vm->srcu);

	if (ret)
		return ret;
	ret = virt_slots_init(vm);
	if (ret)
		goto err_srcu;
	ret = virt_hardware_get();
	if (ret)
		goto err_slots;
	ret = arch_vm_init(vm);
	if (ret)
		goto err_hardware;
	ret = virt_notifier_register(vm);
	if (ret)
		goto err_arch;
	preempt_notifier_inc();
	return 0;

err_arch:
	arch_vm_destroy(vm);
err_hardware:
	virt_hardware_put();
err_slots:
	virt_slots_destroy(vm);
err_srcu:
	cleanup_srcu_struct(&vm->srcu);
	return ret;
}

static struct virt_vm *vm_create(unsigned long type)
{
	struct virt_vm *vm = arch_vm_alloc(type);
	int ret;

	if (IS_ERR(vm))
		return vm;
	vm->mm = current->mm;
	mmgrab(vm->mm);
	refcount_set(&vm->refs, 1);
	mutex_init(&vm->lock);
	mutex_init(&vm->slots_lock);
	virt_irqfd_init(vm);
	rwlock_init(&vm->mmu_lock);
	xa_init(&vm->vcpus);
	snprintf(vm->stats_id, sizeof(vm->stats_id), "kvm-%d", task_pid_nr(current));
	ret = vm_setup(vm);
	if (ret) {
		mmdrop(vm->mm);
		arch_vm_free(vm);
		return ERR_PTR(ret);
	}
	return vm;
}

static void vm_destroy(struct virt_vm *vm)
{
	struct mm_struct *mm = vm->mm;

	preempt_notifier_dec();
	/* Whoever raises interrupts goes before those that take them. */
	virt_irqfd_destroy(vm);
	arch_vm_quiesce(vm);
	virt_notifier_unregister(vm);
	virt_vcpu_destroy_all(vm);
	virt_iobus_destroy(vm);
	virt_coalesced_destroy(vm);
	arch_vm_destroy(vm);
	virt_slots_destroy(vm);
	cleanup_srcu_struct(&vm->srcu);
	xa_destroy(&vm->vcpus);
	virt_hardware_put();
	arch_vm_free(vm);
	mmdrop(mm);
}

void virt_vm_get(struct virt_vm *vm)
{
	refcount_inc(&vm->refs);
}

void virt_vm_put(struct virt_vm *vm)
{
	if (refcount_dec_and_test(&vm->refs))
		vm_destroy(vm);
}

void virt_vm_bugged(struct virt_vm *vm)
{
	struct virt_vcpu *v;
	unsigned int i;

	if (WARN_ON_ONCE(!READ_ONCE(vm->bugged)))
		pr_err("strata: a VM of process %d is in a state that cannot be; it is stopped\n", task_pid_nr(current));
	WRITE_ONCE(vm->bugged, true);
	/* Nobody waits until they have seen it, so that this works anywhere. */
	virt_for_each_vcpu(i, v, vm) {
		virt_request(v, VIRT_REQ_DEAD);
		virt_kick(v);
	}
}

static long vm_create_vcpu(struct virt_vm *vm, void *data, unsigned long raw)
{
	return raw > U32_MAX ? -EINVAL : virt_vcpu_create(vm, raw);
}

static long vm_check_extension(struct virt_vm *vm, void *data, unsigned long raw)
{
	return arch_check_extension(vm, raw);
}

static long vm_set_region(struct virt_vm *vm, void *data, unsigned long raw)
{
	struct kvm_userspace_memory_region *mem = data;

	if ((mem->slot & 0xffff) >= VIRT_USER_SLOTS)
		return -EINVAL;
	return virt_set_slot(vm, mem);
}

/* Without guest_memfd, whose flag is refused as others are, it says no more than the other one. */
static long vm_set_region2(struct virt_vm *vm, void *data, unsigned long raw)
{
	const struct kvm_userspace_memory_region2 *from = data;
	struct kvm_userspace_memory_region mem = {
		.slot = from->slot,
		.flags = from->flags,
		.guest_phys_addr = from->guest_phys_addr,
		.memory_size = from->memory_size,
		.userspace_addr = from->userspace_addr,
	};

	return vm_set_region(vm, &mem, raw);
}

static long vm_get_dirty_log(struct virt_vm *vm, void *data, unsigned long raw)
{
	return virt_get_dirty_log(vm, data);
}

static long vm_clear_dirty_log(struct virt_vm *vm, void *data, unsigned long raw)
{
	return virt_clear_dirty_log(vm, data);
}

static long vm_stats_fd(struct virt_vm *vm, void *data, unsigned long raw)
{
	return virt_vm_stats_fd(vm);
}

/*
 * KVM_GET_DIRTY_LOG and KVM_CLEAR_DIRTY_LOG are told apart by their numbers; the former's encoding
 * says "write only".
 */
static const struct ioctl_row rows[] = {
	{ KVM_CREATE_VCPU,		IOCTL_RAW, .vm = vm_create_vcpu },
	{ KVM_CHECK_EXTENSION,		IOCTL_RAW, .vm = vm_check_extension },
	{ KVM_SET_USER_MEMORY_REGION,	IOCTL_SLOTS, .vm = vm_set_region },
	{ KVM_SET_USER_MEMORY_REGION2,	IOCTL_SLOTS, .vm = vm_set_region2 },
	{ KVM_GET_DIRTY_LOG,		IOCTL_SLOTS, .vm = vm_get_dirty_log },
	{ KVM_CLEAR_DIRTY_LOG,		IOCTL_SLOTS, .vm = vm_clear_dirty_log },
	{ KVM_GET_STATS_FD,		IOCTL_RAW, .vm = vm_stats_fd },
	{ KVM_REGISTER_COALESCED_MMIO,	IOCTL_SLOTS, .vm = virt_coalesced_register },
	{ KVM_UNREGISTER_COALESCED_MMIO, IOCTL_SLOTS, .vm = virt_coalesced_unregister },
	{ KVM_IOEVENTFD,		IOCTL_SLOTS, .vm = virt_ioeventfd },
	{ KVM_IRQFD,			0, .vm = virt_irqfd },
};

static long vm_call(struct virt_vm *vm, const struct ioctl_row *row, void *data, unsigned long arg)
{
	struct mutex *lock = row->flags & IOCTL_LOCK ? &vm->lock : row->flags & IOCTL_SLOTS ? &vm->slots_lock : NULL;
	long ret;

	if (lock && mutex_lock_killable(lock))
		return -EINTR;
	ret = row->vm(vm, data, arg);
	if (lock)
		mutex_unlock(lock);
	return ret;
}

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct ioctl_row *row = ioctl_find(&vm_ioctls, cmd);
	struct virt_vm *vm = file->private_data;
	IOCTL_STACK_BUFFER(stack);
	struct ioctl_buffer b;
	long ret;

	if (vm->mm != current->mm || READ_ONCE(vm->bugged))
		return -EIO;
	if (!row)
		return -ENOTTY;
	ret = ioctl_copy_in(&b, row, arg, stack);
	if (ret)
		return ret;
	ret = vm_call(vm, row, b.data, arg);
	if (!ret)
		ret = ioctl_copy_out(&b, row, arg);
	ioctl_free(&b);
	return ret;
}

static int vm_release(struct inode *inode, struct file *file)
{
	virt_vm_put(file->private_data);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner		= THIS_MODULE,
	.release	= vm_release,
	.unlocked_ioctl	= vm_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
};

long virt_vm_create(unsigned long type)
{
	int fd = get_unused_fd_flags(O_CLOEXEC);
	struct virt_vm *vm;
	struct file *file;

	if (fd < 0)
		return fd;
	vm = vm_create(type);
	if (IS_ERR(vm)) {
		put_unused_fd(fd);
		return PTR_ERR(vm);
	}
	file = anon_inode_getfile("kvm-vm", &vm_fops, vm, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		virt_vm_put(vm);
		return PTR_ERR(file);
	}
	fd_install(fd, file);
	return fd;
}

int virt_vm_ioctls_init(void)
{
	return ioctl_table_add(&vm_ioctls, rows, ARRAY_SIZE(rows));
}
