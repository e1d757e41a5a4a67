"""The same look at the same pages with the vendor's SDK, as a cron script would: prints the CPU a page.

Usage: sdk.py ENDPOINT INSTANCE KEY_ID KEY_SECRET PAGES
"""
import resource
import sys

from alibabacloud_cr20181201 import models
from alibabacloud_cr20181201.client import Client
from alibabacloud_tea_openapi.models import Config

endpoint, instance, key_id, key_secret, pages = sys.argv[1:]
client = Client(
    Config(
        access_key_id=key_id,
        access_key_secret=key_secret,
        endpoint=endpoint,
        protocol="http",
    )
)
known = {}


def sweep(count):
    changed = 0
    for page_no in range(1, count + 1):
        request = models.ListRepoSyncTaskRequest(
            instance_id=instance, page_no=page_no, page_size=100
        )
        for task in client.list_repo_sync_task(request).body.sync_tasks:
            state = (task.task_status, task.task_issue, task.modifed_time)
            if known.get(task.sync_task_id) != state:
                known[task.sync_task_id] = state
                changed += 1
    return changed


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


sweep(int(pages))
before = cpu()
changed = sweep(int(pages))
assert changed == 0, changed
print((cpu() - before) * 1000 / int(pages))
