// SPDX-License-Identifier: GPL-2.0
/*
 * Module init and exit, and the lives of VMs and vCPUs: one call per room, unwound in reverse.
 */
#include "backend.h"
#include "exit.h"
#include "intercepts.h"
#include "ioctl.h"
#include "nested/nested.h"

#include "../../virt/arch.h"
#include "../../virt/virt.h"

#include <linux/cpu.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <asm/reboot.h>

struct backend_caps backend_caps;
static const struct backend *backend;

/* ---- what virt/ asks ---- */

int arch_hardware_enable(void)
{
	int ret = backend_call(enable)();

	if (!ret)
		tsc_host_on();
	return ret;
}

void arch_hardware_disable(void)
{
	user_return_drop();
	tsc_host_off();
	backend_call(disable)();
}

struct virt_vm *arch_vm_alloc(unsigned long type)
{
	struct vm *vm;

	if (type)
		return ERR_PTR(-EINVAL);
	vm = kvzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	return vm ? &vm->virt : ERR_PTR(-ENOMEM);
}

int arch_vm_init(struct virt_vm *virt)
{
	struct vm *vm = to_vm(virt);
	int ret;

	vm->irqchip = IRQCHIP_NONE;
	vm->forced_intercepts = forced_exceptions();
	irq_vm_init(vm);
	ret = mmu_vm_init(vm);
	if (ret)
		return ret;
	ret = cpu_vm_init(vm);
	if (ret)
		goto err_mmu;
	pv_vm_init(vm);
	ret = backend_call(vm_init)(vm);
	if (ret)
		goto err_cpu;
	return 0;

err_cpu:
	cpu_vm_destroy(vm);
err_mmu:
	mmu_vm_destroy(vm);
	return ret;
}

void arch_vm_quiesce(struct virt_vm *virt)
{
	irq_vm_quiesce(to_vm(virt));
}

void arch_vm_destroy(struct virt_vm *virt)
{
	struct vm *vm = to_vm(virt);

	irq_vm_destroy(vm);
	backend_call(vm_destroy)(vm);
	cpu_vm_destroy(vm);
	mmu_vm_destroy(vm);
}

void arch_vm_stats(struct virt_vm *virt)
{
	virt->stats.mmu_pages = atomic_long_read(&to_vm(virt)->mmu.pages);
	virt->stats.nx_lpage_splits = READ_ONCE(to_vm(virt)->mmu.nx.nr);
}

void arch_vm_free(struct virt_vm *virt)
{
	kvfree(to_vm(virt));
}

unsigned int arch_max_vcpu_ids(struct virt_vm *vm)
{
	return to_vm(vm)->max_vcpu_ids ?: VIRT_MAX_VCPU_IDS;
}

struct virt_vcpu *arch_vcpu_alloc(struct virt_vm *vm, unsigned int id)
{
	struct vcpu *v = kvzalloc(backend_caps.vcpu_size, GFP_KERNEL_ACCOUNT);

	return v ? &v->virt : ERR_PTR(-ENOMEM);
}

int arch_vcpu_init(struct virt_vcpu *vv)
{
	struct vcpu *v = to_vcpu(vv);
	int ret;

	v->mp_state = KVM_MP_STATE_RUNNABLE;
	ret = mmu_vcpu_init(v);
	if (ret)
		return ret;
	ret = emu_vcpu_init(v);
	if (ret)
		goto err_mmu;
	ret = cpu_vcpu_init(v);
	if (ret)
		goto err_emu;
	pv_vcpu_init(v);
	ret = backend_call(vcpu_init)(v);
	if (ret)
		goto err_cpu;
	if (vcpu_vm(v)->irqchip != IRQCHIP_NONE) {
		ret = apic_create(v);
		if (ret)
			goto err_backend;
		if (vv->id != vcpu_vm(v)->irq.bsp_id)
			v->mp_state = KVM_MP_STATE_UNINITIALIZED;
	}
	mutex_lock(&vv->mutex);
	virt_vcpu_load(vv);
	vcpu_reset(v, false);
	backend_call(set_root)(v);
	backend_call(set_tsc)(v);
	virt_vcpu_put(vv);
	mutex_unlock(&vv->mutex);
	return 0;

err_backend:
	backend_call(vcpu_destroy)(v);
err_cpu:
	cpu_vcpu_destroy(v);
err_emu:
	emu_vcpu_destroy(v);
err_mmu:
	mmu_vcpu_destroy(v);
	return ret;
}

void arch_vcpu_published(struct virt_vcpu *vv)
{
	/*
	 * Until the first run all MSRs are intercepted: from here on a change of the filter reaches
	 * this vCPU too.
	 */
	virt_request(vv, REQ_MSR_FILTER);
	if (to_vcpu(vv)->apic)
		apic_map_update(to_vcpu(vv));
	clock_tsc_changed(to_vm(vv->vm), NULL);
}

void arch_vcpu_destroy(struct virt_vcpu *vv)
{
	struct vcpu *v = to_vcpu(vv);

	apf_vcpu_destroy(v);
	apic_destroy(v);
	backend_call(vcpu_destroy)(v);
	cpu_vcpu_destroy(v);
	emu_vcpu_destroy(v);
	mmu_vcpu_destroy(v);
}

void arch_vcpu_free(struct virt_vcpu *v)
{
	kvfree(to_vcpu(v));
}

void arch_vcpu_load(struct virt_vcpu *vv, int cpu)
{
	struct vcpu *v = to_vcpu(vv);

	backend_call(vcpu_load)(v, cpu);
	tsc_load(v);
	if (unlikely(v->cpu.in_run))
		cpu_tsc_aux_changed(v);
	if (unlikely(v->pv.clock_page | v->pv.steal_page))
		pv_load(v, cpu);
}

void arch_vcpu_sched_out(struct virt_vcpu *vv)
{
	steal_sched_out(to_vcpu(vv));
}

void arch_vcpu_put(struct virt_vcpu *vv)
{
	struct vcpu *v = to_vcpu(vv);

	tsc_put(v);
	backend_call(vcpu_put)(v);
}

/* ---- the module ---- */

static int pick_backend(void)
{
	static const struct backend *const known[] = { &svm_backend, &vmx_backend };
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		ret = known[i]->check(&backend_caps);
		if (ret == -ENODEV)
			continue;
		backend = known[i];
		if (!backend_caps.nested_state_size)
			nested_enabled = false;
		return ret;
	}
	pr_err("strata: this CPU has neither SVM nor VMX, or the firmware has disabled it\n");
	return -EOPNOTSUPP;
}

static int bind_backend(void)
{
	const struct backend_ops *ops = backend->ops;

#define OP(ret, name, args)						\
	if (WARN_ON_ONCE(!ops->name))					\
		return -EINVAL;						\
	static_call_update(backend_##name, ops->name);
	BACKEND_OPS(OP)
#undef OP
	return 0;
}

/* A crash kernel must not start with virtualization on; interrupts are off. */
static void emergency_disable(void)
{
	backend_call(crash)();
}

static int init_tables(void)
{
	return virt_vm_ioctls_init() ?: virt_vcpu_ioctls_init() ?: x86_ioctls_init();
}

static int __init strata_init(void)
{
	int ret = pick_backend();

	if (ret)
		return ret;
	virt_load_for_regs = !backend_caps.regs_in_memory;
	forced_exceptions_init();
	ret = bind_backend() ?: init_tables();
	if (ret)
		return ret;
	ret = backend->setup();
	if (ret)
		return ret;
	ret = mmu_module_init();
	if (ret)
		goto err_backend;
	ret = cpu_module_init();
	if (ret)
		goto err_mmu;
	ret = apf_module_init();
	if (ret)
		goto err_mmu;
	ret = virt_hardware_init();
	if (ret)
		goto err_apf;
	cpu_emergency_register_virt_callback(emergency_disable);
	ret = virt_dev_init();
	if (ret)
		goto err_hardware;
	pr_info("strata: %s\n", backend_caps.name);
	return 0;

err_hardware:
	cpu_emergency_unregister_virt_callback(emergency_disable);
	virt_hardware_exit();
err_apf:
	apf_module_exit();
err_mmu:
	mmu_module_exit();
err_backend:
	backend->unsetup();
	return ret;
}
module_init(strata_init);

static void __exit strata_exit(void)
{
	virt_dev_exit();
	apf_module_exit();
	cpu_emergency_unregister_virt_callback(emergency_disable);
	virt_hardware_exit();
	mmu_module_exit();
	backend->unsetup();
}
module_exit(strata_exit);

MODULE_DESCRIPTION("x86 hypervisor serving the KVM ABI");
MODULE_LICENSE("GPL");
MODULE_ALIAS_MISCDEV(KVM_MINOR);
MODULE_ALIAS("devname:kvm");
