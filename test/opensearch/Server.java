import java.util.concurrent.CountDownLatch;
import org.codelibs.opensearch.runner.OpenSearchRunner;

/** One OpenSearch node on 127.0.0.1. Arguments: a directory for its data, the HTTP port. It says "ready" and runs until it is ended. */
public class Server {
    public static void main(String[] args) throws Exception {
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.put("network.host", "127.0.0.1");
            settings.put("http.port", args[1]);
            settings.put("transport.port", "0");
            settings.put("discovery.type", "single-node");
            // A single node elects itself and refuses settings that say otherwise.
            for (String name : new String[] {"cluster.initial_cluster_manager_nodes", "cluster.initial_master_nodes", "discovery.seed_hosts"}) {
                settings.remove(name);
            }
            // Disks of test machines are often nearly full.
            settings.put("cluster.routing.allocation.disk.threshold_enabled", "false");
        });
        runner.build(OpenSearchRunner.newConfigs().basePath(args[0]).numOfNode(1).disableESLogger().clusterName("mayday-test"));
        CountDownLatch ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                runner.close();
            } catch (Exception e) {
                System.err.println(e);
            }
            ended.countDown();
        }));
        System.out.println("ready");
        ended.await();
    }
}
