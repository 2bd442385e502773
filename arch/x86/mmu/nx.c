// SPDX-License-Identifier: GPL-2.0
/*
 * NX huge pages: the module's parameters, the list of split pages, and their recovery.
 *
 * A table that was made for a fetch is removed as a whole after some time: data then maps the huge
 * page again, code splits it again. Who changes the mode at run time removes all mappings of all
 * VMs. Locks: nx_lock, then a VM's mmu_lock; none that is held while userspace's memory is touched,
 * which may take for ever.
 */
#include "nx.h"
#include "tdp.h"
#include "../../../virt/arch.h"
#include "../../../virt/virt.h"

#include "../../../include/compat/cpu.h"

#include <linux/capability.h>
#include <linux/cpu.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <asm/cpufeature.h>
#include <asm/spec-ctrl.h>

/* Without a period of its own recovery gets through the whole list in this time. */
#define RECOVERY_ALL_MS		(3600 * MSEC_PER_SEC)
#define RECOVERY_SHORTEST_MS	MSEC_PER_SEC

enum nx_mode { NX_AUTO, NX_OFF, NX_FORCE };

bool nx_huge_on;

static DEFINE_MUTEX(nx_lock);
static LIST_HEAD(nx_vms);
static enum nx_mode nx_mode = NX_AUTO;
static bool nx_ready;
static unsigned int recovery_ratio = 60;
static unsigned int recovery_period_ms;

/* ---- recovery ---- */

static unsigned long recovery_delay(void)
{
	unsigned int ratio = READ_ONCE(recovery_ratio), ms = READ_ONCE(recovery_period_ms);

	if (!ms)
		ms = max_t(unsigned int, RECOVERY_ALL_MS / max(ratio, 1u), RECOVERY_SHORTEST_MS);
	return msecs_to_jiffies(ms);
}

static void recovery_start(struct vm_nx *nx)
{
	if (READ_ONCE(recovery_ratio))
		queue_delayed_work(system_unbound_wq, &nx->recover, recovery_delay());
}

/*
 * Where a table is: the address of what it covers, with the address space and the level in bits
 * that an address does not have.
 */
static unsigned long place(unsigned int as_id, u64 gfn, int level)
{
	return (gfn & ~(tdp_span(level) - 1)) << PAGE_SHIFT | as_id << 2 | level;
}

void nx_note(struct vm *vm, unsigned int as_id, u64 gfn, int level, struct page *table)
{
	struct vm_nx *nx = &vm->mmu.nx;
	bool first = false;

	spin_lock(&nx->lock);
	if (!nx_is_split(table)) {
		set_page_private(table, place(as_id, gfn, level));
		list_add_tail(&table->lru, &nx->splits);
		first = !nx->nr++;
	}
	spin_unlock(&nx->lock);
	if (first)
		recovery_start(nx);
}

void nx_forget(struct vm *vm, struct page *table)
{
	set_page_private(table, 0);
	list_del(&table->lru);
	vm->mmu.nx.nr--;
}

/*
 * While writes are logged all leaves are small anyway; when that ends, huge ones come back without
 * us.
 */
static bool small_anyway(struct vm *vm, unsigned int as_id, u64 gfn)
{
	const struct virt_slot *slot = virt_find_slot(virt_slots(&vm->virt, as_id), gfn);

	return slot && (slot->flags & KVM_MEM_LOG_DIRTY_PAGES);
}

/* The oldest one. True if TLBs must be flushed. */
static bool recover_one(struct vm *vm, struct list_head *tables)
{
	struct page *table = list_first_entry(&vm->mmu.nx.splits, struct page, lru);
	unsigned long where = page_private(table);
	unsigned int as_id = where >> 2 & 1;
	u64 gfn = where >> PAGE_SHIFT;

	if (small_anyway(vm, as_id, gfn)) {
		nx_forget(vm, table);
		return false;
	}
	return tdp_zap(vm, as_id, gfn, gfn + tdp_span(where & 3), false, tables);
}

static void recover_some(struct vm *vm, unsigned long nr)
{
	struct virt_vm *virt = &vm->virt;
	LIST_HEAD(tables);
	bool flush = false;

	write_lock(&virt->mmu_lock);
	while (nr-- && !list_empty(&vm->mmu.nx.splits)) {
		flush |= recover_one(vm, &tables);
		if (!need_resched() && !rwlock_needbreak(&virt->mmu_lock))
			continue;
		/*
		 * Who takes the lock next must not find translations in TLBs that the tables lack.
		 */
		if (flush)
			virt_request_all(virt, VIRT_REQ_TLB_FLUSH);
		flush = false;
		cond_resched_rwlock_write(&virt->mmu_lock);
	}
	if (flush)
		virt_request_all(virt, VIRT_REQ_TLB_FLUSH);
	write_unlock(&virt->mmu_lock);
	tdp_free_tables(vm, &tables);
}

static void recover(struct work_struct *work)
{
	struct vm_nx *nx = container_of(to_delayed_work(work), struct vm_nx, recover);
	struct vm *vm = container_of(nx, struct vm, mmu.nx);
	unsigned int ratio = READ_ONCE(recovery_ratio);
	int idx;

	if (!ratio)
		return;
	idx = srcu_read_lock(&vm->virt.srcu);
	recover_some(vm, DIV_ROUND_UP(READ_ONCE(nx->nr), ratio));
	srcu_read_unlock(&vm->virt.srcu, idx);
	if (READ_ONCE(nx->nr))
		recovery_start(nx);
}

/* ---- VMs ---- */

void nx_vm_init(struct vm *vm)
{
	struct vm_nx *nx = &vm->mmu.nx;

	spin_lock_init(&nx->lock);
	INIT_LIST_HEAD(&nx->splits);
	INIT_DELAYED_WORK(&nx->recover, recover);
	mutex_lock(&nx_lock);
	list_add(&nx->vms, &nx_vms);
	mutex_unlock(&nx_lock);
}

void nx_vm_destroy(struct vm *vm)
{
	mutex_lock(&nx_lock);
	list_del(&vm->mmu.nx.vms);
	mutex_unlock(&nx_lock);
	cancel_delayed_work_sync(&vm->mmu.nx.recover);
}

long nx_vm_exempt(struct vm *vm, u64 arg)
{
	if (arg || vm->virt.nr_vcpus)
		return -EINVAL;
	/* What a guest can then do concerns the whole host: it is for those who may restart it. */
	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	vm->mmu.nx.exempt = true;
	return 0;
}

/* ---- parameters ---- */

/* No leaf is left from before; those made from now on are of the new mode. */
static void zap_vm(struct vm *vm)
{
	unsigned int as_id, i;
	int idx;

	/*
	 * A slot that comes meanwhile is of the new mode, one that goes is zapped by who removes
	 * it.
	 */
	idx = srcu_read_lock(&vm->virt.srcu);
	for (as_id = 0; as_id < VIRT_ADDRESS_SPACES; as_id++) {
		const struct virt_slots *slots = virt_slots(&vm->virt, as_id);

		for (i = 0; i < slots->nr; i++)
			arch_slot_zap(&vm->virt, slots->slot[i]);
	}
	srcu_read_unlock(&vm->virt.srcu, idx);
}

static bool wanted(void)
{
	if (nx_mode == NX_AUTO)
		return boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT) && !cpu_mitigations_off();
	return nx_mode == NX_FORCE;
}

static void apply(void)
{
	struct vm *vm;
	bool on = wanted();

	lockdep_assert_held(&nx_lock);
	if (!nx_ready || on == nx_huge_on)
		return;
	/* Faults read it under mmu_lock, which zap_vm() takes afterwards. */
	WRITE_ONCE(nx_huge_on, on);
	itlb_multihit_kvm_mitigation = on;
	list_for_each_entry(vm, &nx_vms, mmu.nx.vms)
		zap_vm(vm);
}

static int parse_mode(const char *text, enum nx_mode *mode)
{
	static const char *const names[] = { [NX_AUTO] = "auto", [NX_OFF] = "off", [NX_FORCE] = "force" };
	int i = __sysfs_match_string(names, ARRAY_SIZE(names), text);
	bool on;

	if (i >= 0) {
		*mode = i;
		return 0;
	}
	if (kstrtobool(text, &on))
		return -EINVAL;
	*mode = on ? NX_FORCE : NX_OFF;
	return 0;
}

static int set_mode(const char *text, const struct kernel_param *kp)
{
	enum nx_mode mode;
	int ret = parse_mode(text, &mode);

	if (ret)
		return ret;
	mutex_lock(&nx_lock);
	nx_mode = mode;
	apply();
	mutex_unlock(&nx_lock);
	return 0;
}

static int get_mode(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%c\n", READ_ONCE(nx_huge_on) ? 'Y' : 'N');
}

/* What waits for the old period waits for the new one. */
static int set_recovery(const char *text, const struct kernel_param *kp)
{
	struct vm *vm;
	int ret = param_set_uint(text, kp);

	if (ret)
		return ret;
	mutex_lock(&nx_lock);
	list_for_each_entry(vm, &nx_vms, mmu.nx.vms)
		if (READ_ONCE(vm->mmu.nx.nr) && READ_ONCE(recovery_ratio))
			mod_delayed_work(system_unbound_wq, &vm->mmu.nx.recover, recovery_delay());
	mutex_unlock(&nx_lock);
	return 0;
}

static const struct kernel_param_ops mode_ops = { .set = set_mode, .get = get_mode };
static const struct kernel_param_ops recovery_ops = { .set = set_recovery, .get = param_get_uint };

module_param_cb(nx_huge_pages, &mode_ops, NULL, 0644);
MODULE_PARM_DESC(nx_huge_pages, "map huge pages non-executable and split them on fetch: auto (on CPUs with the ITLB multihit erratum), off, force");
module_param_cb(nx_huge_pages_recovery_ratio, &recovery_ops, &recovery_ratio, 0644);
MODULE_PARM_DESC(nx_huge_pages_recovery_ratio, "1/N of the split pages is given the chance to be huge again in each period; 0: never");
module_param_cb(nx_huge_pages_recovery_period_ms, &recovery_ops, &recovery_period_ms, 0644);
MODULE_PARM_DESC(nx_huge_pages_recovery_period_ms, "that period; 0: such that all of them have had it after an hour");

void nx_module_init(void)
{
	mutex_lock(&nx_lock);
	nx_ready = true;
	apply();
	mutex_unlock(&nx_lock);
}

void nx_module_exit(void)
{
	itlb_multihit_kvm_mitigation = false;
}
