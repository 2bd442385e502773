// SPDX-License-Identifier: GPL-2.0
/*
 * Virtualization on and off on every CPU.
 *
 * On while there is a VM: CPUs that come online meanwhile follow through the hotplug state, suspend
 * and reboot through syscore and reboot notifiers, a crash through the kernel's emergency callback.
 * The module holds the hotplug state from load to unload, so that no other provider can come up
 * beside it.
 *
 * A reboot takes virtualization from under VMs that run. Their threads must not use it any more:
 * the instructions would fault. So each CPU tells the vCPU that is loaded there, and one that is
 * loaded later is told at once. After a crash no thread goes on.
 */
#include "virt.h"
#include "arch.h"

#include "../include/compat/host.h"

#include <linux/cpu.h>
#include <linux/reboot.h>

static DEFINE_MUTEX(users_lock);
static int users;			/* VMs, under users_lock */
static bool going_down;			/* for good; written before virtualization goes off */
static DEFINE_PER_CPU(bool, hardware_on);
static DEFINE_PER_CPU(struct virt_vcpu *, loaded_vcpu);
static atomic_t enable_error;

static int enable_this_cpu(void)
{
	int ret;

	if (__this_cpu_read(hardware_on))
		return 0;
	if (READ_ONCE(going_down))
		return -EBUSY;
	ret = arch_hardware_enable();
	if (!ret)
		__this_cpu_write(hardware_on, true);
	return ret;
}

static void disable_this_cpu(void)
{
	struct virt_vcpu *v = __this_cpu_read(loaded_vcpu);

	if (!__this_cpu_read(hardware_on))
		return;
	if (v)
		virt_request(v, VIRT_REQ_OFF);
	__this_cpu_write(hardware_on, false);
	arch_hardware_disable();
}

void virt_hardware_load(struct virt_vcpu *v)
{
	this_cpu_write(loaded_vcpu, v);
	/* disable_this_cpu() by interrupt comes before this, or finds the vCPU. */
	barrier();
	if (unlikely(!this_cpu_read(hardware_on)))
		virt_request(v, VIRT_REQ_OFF);
}

void virt_hardware_unload(void)
{
	this_cpu_write(loaded_vcpu, NULL);
}

static void enable_ipi(void *unused)
{
	int ret = enable_this_cpu();

	if (ret)
		atomic_set(&enable_error, ret);
}

static void disable_ipi(void *unused)
{
	disable_this_cpu();
}

int virt_hardware_get(void)
{
	int ret = 0;

	cpus_read_lock();
	mutex_lock(&users_lock);
	if (!users) {
		atomic_set(&enable_error, 0);
		on_each_cpu(enable_ipi, NULL, 1);
		ret = atomic_read(&enable_error);
		if (ret)
			on_each_cpu(disable_ipi, NULL, 1);
	}
	if (!ret)
		users++;
	mutex_unlock(&users_lock);
	cpus_read_unlock();
	return ret;
}

void virt_hardware_put(void)
{
	cpus_read_lock();
	mutex_lock(&users_lock);
	if (!--users)
		on_each_cpu(disable_ipi, NULL, 1);
	mutex_unlock(&users_lock);
	cpus_read_unlock();
}

/*
 * Hotplug callbacks hold the CPU lock for writing, which keeps `users` still; on 6.1 they run with
 * interrupts off.
 */
static int cpu_online_cb(unsigned int cpu)
{
	unsigned long flags;
	int ret = 0;

	local_irq_save(flags);
	if (users && !going_down)
		ret = enable_this_cpu();
	local_irq_restore(flags);
	return ret;
}

static int cpu_offline_cb(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	disable_this_cpu();
	local_irq_restore(flags);
	return 0;
}

/* Suspend: one CPU is left, interrupts are off. Its users are frozen, so `users` does not move. */
static int hardware_suspend(SYSCORE_ARG)
{
	disable_this_cpu();
	return 0;
}

static void hardware_resume(SYSCORE_ARG)
{
	if (users && !going_down && enable_this_cpu())
		pr_err("strata: virtualization could not be enabled again after suspend\n");
}

DEFINE_SYSCORE(hardware_syscore, hardware_suspend, hardware_resume);

/*
 * kexec and reboot: firmware and the next kernel expect virtualization off (INIT is blocked under
 * VMX).
 */
static int hardware_reboot(struct notifier_block *nb, unsigned long event, void *unused)
{
	cpus_read_lock();
	WRITE_ONCE(going_down, true);
	on_each_cpu(disable_ipi, NULL, 1);
	cpus_read_unlock();
	return NOTIFY_OK;
}

static struct notifier_block reboot_nb = {
	.notifier_call	= hardware_reboot,
};

int virt_hardware_init(void)
{
	int ret = cpuhp_setup_state_nocalls(VIRT_CPUHP_STATE, "virt/strata:online", cpu_online_cb,
					    cpu_offline_cb);

	if (ret < 0) {
		pr_err("strata: another hypervisor module is loaded; unload it first (modprobe -r kvm_amd kvm_intel kvm)\n");
		return ret;
	}
	syscore_add(&hardware_syscore);
	register_reboot_notifier(&reboot_nb);
	return 0;
}

void virt_hardware_exit(void)
{
	unregister_reboot_notifier(&reboot_nb);
	syscore_del(&hardware_syscore);
	cpuhp_remove_state_nocalls(VIRT_CPUHP_STATE);
}
